import { describe, expect, test } from "vitest";
import { ALL, API, bedWith, FAR, ICMP, TCP, UDP, WEB } from "./policy-test-bed.ts";

describe("ClusterNetworkPolicies", () => {
  const everyone = { namespaces: ALL };
  const admin = (priority: number, ...ingress: object[]) => ({ tier: "Admin", priority, subject: everyone, ingress });
  const baseline = (...ingress: object[]) => ({ tier: "Baseline", priority: 1, subject: everyone, ingress });
  const rule = (action: string, more: object = {}) => ({ action, from: [{ namespaces: ALL }], ...more });

  test.each([
    ["Accept of Admin overrides a NetworkPolicy", "Accept", "allow"],
    ["Pass leaves the decision to NetworkPolicies", "Pass", "deny"],
    ["Deny of Admin denies", "Deny", "deny"],
  ])("%s", (_, action, verdict) => {
    const bed = bedWith({ podSelector: ALL });
    bed.clusterPolicy("c", admin(1, rule(action)));
    expect(bed.ingress(API, WEB)).toBe(verdict);
  });

  test("NetworkPolicies override Baseline", () => {
    const bed = bedWith({ podSelector: ALL, ingress: [{}] });
    bed.clusterPolicy("c", baseline(rule("Deny")));
    expect(bed.ingress(API, WEB)).toBe("allow");
    bed.policy("x/p", undefined);
    expect(bed.ingress(API, WEB)).toBe("deny");
  });

  test("the lower priority value decides, then the name", () => {
    const bed = bedWith({ podSelector: { matchLabels: { none: "such" } } });
    bed.clusterPolicy("b", admin(5, rule("Deny")));
    bed.clusterPolicy("c", admin(5, rule("Accept")));
    expect(bed.ingress(API, WEB)).toBe("deny");
    bed.clusterPolicy("c", admin(4, rule("Accept")));
    expect(bed.ingress(API, WEB)).toBe("allow");
  });

  test("pods that only Admin concerns are allowed otherwise, and tiers are few", () => {
    const bed = bedWith({ podSelector: { matchLabels: { none: "such" } } });
    bed.clusterPolicy("c", admin(1, rule("Deny", { protocols: [{ tcp: { destinationPort: { number: 80 } } }] })));
    expect([bed.ingress(API, WEB), bed.ingress(API, WEB, TCP, 81), bed.ingress(FAR, WEB)]).toEqual([
      "deny",
      "allow",
      "allow",
    ]);
    const [profile] = bed.tables.profiles.values();
    expect(profile?.others.map(({ name }) => name)).toEqual(["Baseline"]);
    expect(profile?.ports.map(({ decision }) => decision.map(({ name }) => name))).toEqual([["Admin", "Baseline"]]);
  });

  test("neighbouring rules with the same verdict are one step, and nothing follows a rule for everything", () => {
    const bed = bedWith({ podSelector: { matchLabels: { none: "such" } } });
    const pods = (app: string) => ({ pods: { namespaceSelector: ALL, podSelector: { matchLabels: { app } } } });
    const to = (action: string, ...peers: object[]) => ({ action, to: peers });
    bed.clusterPolicy("c", {
      ...{ tier: "Admin", priority: 1, subject: everyone },
      egress: [
        to("Accept", pods("a")),
        to("Accept", pods("b")),
        to("Deny", { domainNames: ["example.com"] }),
        to("Accept", pods("c")),
      ],
    });
    const [profile] = bed.tables.profiles.values();
    expect(profile?.others[0]?.steps).toMatchObject([{ verdict: "allow" }, { verdict: "deny", peers: "everything" }]);
    expect(bed.tables.pods.size).toBe(1);
  });

  test.each([
    ["a peer without a known field", {}],
    ["domain names", { domainNames: ["example.com"] }],
    ["nodes", { nodes: {} }],
    ["a selector that cannot be read", { namespaces: { matchExpressions: [{ key: "a", operator: "Gt" }] } }],
    ["a network that cannot be read", { networks: ["10.0.0.0/99"] }],
  ])("%s fails closed", (_, peer) => {
    const bed = bedWith({ podSelector: { matchLabels: { none: "such" } } });
    const set = (action: string) =>
      bed.clusterPolicy("c", {
        ...baseline(),
        egress: [
          { action, to: [{ namespaces: ALL }, peer] },
          { action: "Deny", to: [{ networks: ["192.0.2.0/24"] }] },
        ],
      });
    set("Accept");
    expect([bed.egress(WEB, API), bed.egress(WEB, FAR)]).toEqual(["allow", "deny"]);
    expect(bed.map.policies()[0]?.problems.length).toBeGreaterThan(0);
    for (const action of ["Deny", "Pass"]) {
      set(action);
      expect([bed.egress(WEB, API), bed.egress(WEB, "198.51.100.1")]).toEqual(["deny", "deny"]);
    }
  });

  test("a protocol that cannot be read fails closed for the rule's peers", () => {
    const bed = bedWith({ podSelector: { matchLabels: { none: "such" } } });
    const protocols = [{ icmp: {} }, { udp: { destinationPort: { range: { start: 50, end: 60 } } } }];
    bed.clusterPolicy("c", baseline(rule("Accept", { protocols }), rule("Deny")));
    expect([bed.ingress(API, WEB, UDP, 53), bed.ingress(API, WEB, ICMP, 0)]).toEqual(["allow", "deny"]);
    bed.clusterPolicy("c", baseline(rule("Pass", { protocols })));
    expect([bed.ingress(API, WEB, UDP, 53), bed.ingress(FAR, WEB)]).toEqual(["deny", "allow"]);
  });

  test("a named port is resolved by each protocol", () => {
    const bed = bedWith({ podSelector: { matchLabels: { none: "such" } } });
    const ports = [
      { name: "dns", protocol: "UDP", containerPort: 53 },
      { name: "dns", containerPort: 5353 },
    ];
    bed.pod("x/web", { ips: [WEB], ports });
    bed.clusterPolicy("c", baseline(rule("Deny", { protocols: [{ destinationNamedPort: "dns" }] })));
    expect([UDP, TCP].map((protocol) => bed.ingress(API, WEB, protocol, 53))).toEqual(["deny", "allow"]);
    expect([UDP, TCP].map((protocol) => bed.ingress(API, WEB, protocol, 5353))).toEqual(["allow", "deny"]);
  });

  test("a Namespace's labels change subjects and peers", () => {
    const bed = bedWith({ podSelector: { matchLabels: { none: "such" } } });
    const team = { namespaces: { matchLabels: { team: "a" } } };
    bed.clusterPolicy("c", { ...baseline({ action: "Deny", from: [team] }), subject: team });
    expect(bed.ingress(API, WEB)).toBe("allow");
    bed.namespace("x", { team: "a" });
    expect(bed.ingress(API, WEB)).toBe("deny");
    bed.namespace("x", {});
    expect(bed.ingress(API, WEB)).toBe("allow");
  });

  test.each([
    ["tier", { tier: "Middle" }],
    ["subject", { subject: {} }],
  ])("an unknown %s selects no pods", (_, change) => {
    const bed = bedWith({ podSelector: { matchLabels: { none: "such" } } });
    bed.clusterPolicy("c", { ...baseline(rule("Deny")), ...change });
    expect(bed.ingress(API, WEB)).toBe("allow");
  });
});
