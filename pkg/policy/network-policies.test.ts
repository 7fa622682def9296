import { describe, expect, test } from "vitest";
import { POD_PARSER } from "../cluster/policy/pod.ts";
import { ALL, API, bedWith, FAR, ICMP, SCTP, TCP, UDP, WEB } from "./policy-test-bed.ts";

describe("empty forms of NetworkPolicies", () => {
  test.each([
    ["type Ingress without rules", { podSelector: ALL, policyTypes: ["Ingress"] }, "deny", "allow"],
    ["no types and no egress", { podSelector: ALL }, "deny", "allow"],
    ["no types and an egress rule", { podSelector: ALL, egress: [{}] }, "deny", "allow"],
    [
      "no types and an egress rule for UDP",
      { podSelector: ALL, egress: [{ ports: [{ protocol: "UDP" }] }] },
      "deny",
      "deny",
    ],
    ["type Egress only", { podSelector: ALL, policyTypes: ["Egress"] }, "allow", "deny"],
    ["an empty list of rules", { podSelector: ALL, ingress: [] }, "deny", "allow"],
    ["an empty rule", { podSelector: ALL, ingress: [{}] }, "allow", "allow"],
    ["empty lists of peers and ports", { podSelector: ALL, ingress: [{ from: [], ports: [] }] }, "allow", "allow"],
    ["types and null rules", { podSelector: ALL, policyTypes: ["Ingress", "Egress"], ingress: null }, "deny", "deny"],
  ])("%s", (_, spec, ingress, egress) => {
    const bed = bedWith(spec);
    expect([bed.ingress(API, WEB), bed.egress(WEB, API)]).toEqual([ingress, egress]);
  });

  test("a rule without ports allows every protocol", () => {
    const bed = bedWith({ podSelector: ALL, ingress: [{ from: [{ podSelector: ALL }] }] });
    for (const protocol of [TCP, UDP, SCTP, ICMP, 47]) expect(bed.ingress(API, WEB, protocol, 0)).toBe("allow");
    expect(bed.ingress(FAR, WEB, ICMP, 0)).toBe("deny");
  });

  test("a rule with ports allows no protocol without ports", () => {
    const bed = bedWith({ podSelector: ALL, ingress: [{ ports: [{ protocol: "TCP" }] }] });
    expect([bed.ingress(API, WEB), bed.ingress(API, WEB, ICMP, 0)]).toEqual(["allow", "deny"]);
  });

  test("a policy that selects other pods does not isolate", () => {
    const bed = bedWith({ podSelector: { matchLabels: { app: "db" } } });
    expect(bed.ingress(API, WEB)).toBe("allow");
    expect(bed.tables.subjects.size).toBe(0);
  });

  test("a policy of another namespace does not isolate", () => {
    const bed = bedWith({ podSelector: { matchLabels: { app: "db" } } });
    bed.policy("y/p", { podSelector: ALL });
    expect(bed.ingress(API, WEB)).toBe("allow");
  });
});

describe("ports of NetworkPolicies", () => {
  const ports = (...list: object[]) =>
    bedWith({ podSelector: ALL, ingress: [{ ports: list }], egress: [{ ports: list }] });

  test("the protocol defaults to TCP, and SCTP is not TCP", () => {
    const bed = ports({ port: 80 });
    expect([TCP, UDP, SCTP].map((protocol) => bed.ingress(API, WEB, protocol))).toEqual(["allow", "deny", "deny"]);
  });

  test("endPort is included", () => {
    const bed = ports({ port: 80, endPort: 90 });
    expect([79, 80, 90, 91].map((port) => bed.ingress(API, WEB, TCP, port))).toEqual([
      "deny",
      "allow",
      "allow",
      "deny",
    ]);
  });

  test.each([
    [{ port: 80, endPort: 79 }],
    [{ port: "web", endPort: 90 }],
    [{ endPort: 90 }],
    [{ port: 70_000 }],
    [{ protocol: "ICMP", port: 80 }],
  ])("%j matches nothing", (port) => {
    const bed = ports(port);
    expect(bed.ingress(API, WEB)).toBe("deny");
    expect(bed.map.policies()[0]?.problems).toHaveLength(2);
  });

  test("a name is resolved at each destination pod, by protocol", () => {
    const bed = ports({ port: "http" });
    bed.pod("x/web", { labels: { app: "web" }, ips: [WEB], ports: [{ name: "http", containerPort: 80 }] });
    bed.pod("x/api", { node: "n2", ips: [API], ports: [{ name: "http", containerPort: 81 }] });
    expect([bed.ingress(API, WEB), bed.ingress(API, WEB, TCP, 81)]).toEqual(["allow", "deny"]);
    expect([bed.egress(WEB, API), bed.egress(WEB, API, TCP, 81)]).toEqual(["deny", "allow"]);
    expect(bed.egress(WEB, FAR)).toBe("deny");
    bed.pod("x/api", { node: "n2", ips: [API], ports: [{ name: "http", protocol: "UDP", containerPort: 81 }] });
    expect([bed.egress(WEB, API, TCP, 81), bed.egress(WEB, API, UDP, 81)]).toEqual(["deny", "deny"]);
  });

  test("a name in egress also matches a pod in an ipBlock", () => {
    const bed = bedWith({
      podSelector: ALL,
      egress: [{ to: [{ ipBlock: { cidr: "10.0.0.0/24" } }], ports: [{ port: "http" }] }],
    });
    bed.pod("x/api", { node: "n2", ips: [API], ports: [{ name: "http", containerPort: 81 }] });
    expect([API, "10.0.0.9"].map((to) => bed.egress(WEB, to, TCP, 81))).toEqual(["allow", "deny"]);
    bed.pod("x/api", { node: "n2", ips: ["10.1.0.2"], ports: [{ name: "http", containerPort: 81 }] });
    expect(bed.egress(WEB, "10.1.0.2", TCP, 81)).toBe("deny");
  });

  test("a name matches a pod that only a later block selects", () => {
    const egress = (cidr: string) => ({ to: [{ ipBlock: { cidr } }], ports: [{ port: "http" }] });
    const bed = bedWith({ podSelector: ALL, egress: [egress("192.0.2.0/24")] });
    bed.pod("x/api", { node: "n2", ips: [API], ports: [{ name: "http", containerPort: 81 }] });
    expect(bed.egress(WEB, API, TCP, 81)).toBe("deny");
    bed.policy("x/p", { podSelector: ALL, egress: [egress("192.0.2.0/24"), egress("10.0.0.0/24")] });
    expect(bed.egress(WEB, API, TCP, 81)).toBe("allow");
  });

  test("a sidecar's port has a name, that of another init container has none", () => {
    const object = (init: object) => ({
      metadata: { namespace: "x", name: "web" },
      spec: { initContainers: [{ ports: [{ name: "http", containerPort: 80 }], ...init }] },
    });
    expect(POD_PARSER.parse(object({}))?.namedPorts).toEqual([]);
    expect(POD_PARSER.parse(object({ restartPolicy: "Always" }))?.namedPorts).toHaveLength(1);
  });
});

describe("peers of NetworkPolicies", () => {
  const from = (...peers: object[]) => bedWith({ podSelector: ALL, ingress: [{ from: peers }] });

  test("an ipBlock matches pods, and except subtracts only within its own item", () => {
    const block = { ipBlock: { cidr: "10.0.0.0/24", except: ["10.0.0.2/32"] } };
    expect(from(block).ingress(API, WEB)).toBe("deny");
    expect(from(block).ingress("10.0.0.3", WEB)).toBe("allow");
    expect(from(block, { ipBlock: { cidr: "10.0.0.0/30" } }).ingress(API, WEB)).toBe("allow");
  });

  test("an ipBlock matches its own family only", () => {
    const bed = from({ ipBlock: { cidr: "0.0.0.0/0" } });
    expect([bed.ingress(FAR, WEB), bed.ingress("2001:db8::1", "fd00::1")]).toEqual(["allow", "deny"]);
  });

  test("an ipBlock with an exception that cannot be read matches nothing", () => {
    const bed = from({ ipBlock: { cidr: "10.0.0.0/24", except: ["no address"] } });
    expect(bed.ingress(API, WEB)).toBe("deny");
  });

  test("a podSelector means the policy's namespace", () => {
    const bed = from({ podSelector: ALL });
    bed.pod("y/a", { node: "n2", ips: ["10.0.0.5"] });
    expect([bed.ingress(API, WEB), bed.ingress("10.0.0.5", WEB)]).toEqual(["allow", "deny"]);
    expect(bed.ingress("fd00::2", "fd00::1")).toBe("allow");
  });

  test("a namespaceSelector means all pods of the namespaces, with a podSelector both must match", () => {
    const [any, both] = [
      from({ namespaceSelector: { matchLabels: { team: "a" } } }),
      from({ namespaceSelector: { matchLabels: { team: "a" } }, podSelector: { matchLabels: { app: "api" } } }),
    ];
    for (const bed of [any, both]) {
      bed.pod("y/a", { node: "n2", ips: ["10.0.0.5"] });
      expect([bed.ingress(API, WEB), bed.ingress("10.0.0.5", WEB)]).toEqual(["deny", "deny"]);
      bed.namespace("y", { team: "a" });
    }
    expect([any, both].map((bed) => bed.ingress("10.0.0.5", WEB))).toEqual(["allow", "deny"]);
    both.pod("y/a", { node: "n2", ips: ["10.0.0.5"], labels: { app: "api" } });
    expect(both.ingress("10.0.0.5", WEB)).toBe("allow");
  });

  test("pods of a namespace without labels match an empty namespaceSelector and NotIn", () => {
    const notIn = { matchExpressions: [{ key: "team", operator: "NotIn", values: ["b"] }] };
    for (const selector of [ALL, notIn]) expect(from({ namespaceSelector: selector }).ingress(API, WEB)).toBe("allow");
  });

  test("a hostNetwork pod is neither a peer nor a subject", () => {
    const bed = from({ podSelector: ALL });
    bed.pod("x/host", { ips: ["172.16.0.1"], hostNetwork: true });
    expect([bed.ingress("172.16.0.1", WEB), bed.ingress(FAR, "172.16.0.1")]).toEqual(["deny", "allow"]);
  });

  test.each(["Succeeded", "Failed"])("a pod that has %s is neither a peer nor a subject", (phase) => {
    const bed = from({ podSelector: ALL });
    bed.pod("x/api", { node: "n2", ips: [API], phase });
    expect(bed.ingress(API, WEB)).toBe("deny");
    bed.pod("x/web", { ips: [WEB], phase });
    expect(bed.ingress(FAR, WEB)).toBe("allow");
    expect(bed.map.counts()).toMatchObject({ localPods: 0, identities: 0, profiles: 0 });
  });
});
