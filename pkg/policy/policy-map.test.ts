import { describe, expect, test } from "vitest";
import { CLUSTER_NETWORK_POLICY_PARSER } from "../cluster/policy/cluster-network-policy.ts";
import { NAMESPACE_PARSER } from "../cluster/policy/namespace.ts";
import { NETWORK_POLICY_PARSER } from "../cluster/policy/network-policy.ts";
import { POD_PARSER } from "../cluster/policy/pod.ts";
import { parseAddress } from "../ip/address.ts";
import { PolicyMap } from "./policy-map.ts";
import type { Direction } from "./state.ts";
import { PolicyTables } from "./tables.ts";

const TCP = 6;
const UDP = 17;
const SCTP = 132;
const ICMP = 1;

interface PodOptions {
  readonly node?: string;
  readonly labels?: Record<string, string>;
  readonly ips?: readonly string[];
  readonly phase?: string;
  readonly hostNetwork?: boolean;
  readonly ports?: readonly unknown[];
  readonly uid?: string;
  readonly configHash?: string;
}

/** A map for node n1 and the tables that its changes produce. */
class Bed {
  readonly map = new PolicyMap("n1");
  readonly tables = new PolicyTables();

  pod(key: string, options: PodOptions | undefined): void {
    const [namespace = "", name = ""] = key.split("/");
    const { node = "n1", labels, ips = [], phase = "Running", hostNetwork, ports, uid, configHash } = options ?? {};
    const annotations = configHash === undefined ? {} : { "kubernetes.io/config.hash": configHash };
    const object = {
      metadata: { namespace, name, uid: uid ?? `uid of ${key}`, annotations, ...(labels && { labels }) },
      spec: { nodeName: node, hostNetwork, containers: [{ ports }] },
      status: { phase, podIPs: ips.map((ip) => ({ ip })) },
    };
    this.map.setPod(key, options && POD_PARSER.parse(object));
    this.apply();
  }

  policy(key: string, spec: object | undefined): void {
    const [namespace = "", name = ""] = key.split("/");
    this.map.setPolicy(key, spec && NETWORK_POLICY_PARSER.parse({ metadata: { namespace, name }, spec }));
    this.apply();
  }

  clusterPolicy(name: string, spec: object | undefined): void {
    this.map.setClusterPolicy(name, spec && CLUSTER_NETWORK_POLICY_PARSER.parse({ metadata: { name }, spec }));
    this.apply();
  }

  namespace(name: string, labels: Record<string, string>, annotations: Record<string, string> = {}): void {
    this.map.setNamespace(name, NAMESPACE_PARSER.parse({ metadata: { name, labels, annotations } }));
    this.apply();
  }

  attach(key: string, uid: string, ...addresses: string[]): void {
    this.map.attach(key, uid, addresses.map(parseAddress));
    this.apply();
  }

  apply(): number {
    const changes = this.map.changes();
    for (const change of changes) this.tables.apply(change);
    return changes.length;
  }

  verdict(direction: Direction, subject: string, peer: string, protocol = TCP, port = 80): string {
    return this.tables.verdict(direction, parseAddress(subject), parseAddress(peer), protocol, port);
  }

  ingress(from: string, to: string, protocol = TCP, port = 80): string {
    return this.verdict("ingress", to, from, protocol, port);
  }

  egress(from: string, to: string, protocol = TCP, port = 80): string {
    return this.verdict("egress", from, to, protocol, port);
  }
}

const [WEB, API, FAR] = ["10.0.0.1", "10.0.0.2", "192.0.2.1"];

/** x/web on this node and x/api on another one. */
function bedWith(spec: object): Bed {
  const bed = new Bed();
  bed.pod("x/web", { labels: { app: "web" }, ips: [WEB, "fd00::1"] });
  bed.pod("x/api", { node: "n2", labels: { app: "api" }, ips: [API, "fd00::2"] });
  bed.policy("x/p", spec);
  return bed;
}

const ALL = {};

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

describe("a reused address", () => {
  const isolated = { podSelector: { matchLabels: { app: "web" } } };

  test("stays with the new pod if the old pod ends later", () => {
    const bed = bedWith(isolated);
    bed.pod("x/new", { ips: [WEB], labels: { app: "other" } });
    expect(bed.ingress(API, WEB)).toBe("allow");
    bed.pod("x/web", undefined);
    bed.pod("x/other", { ips: ["10.0.0.7"], labels: { app: "web" } });
    bed.pod("x/later", { ips: ["10.0.0.7"], labels: { app: "web" }, phase: "Pending" });
    bed.pod("x/other", undefined);
    expect([bed.ingress(API, WEB), bed.ingress(API, "10.0.0.7")]).toEqual(["allow", "deny"]);
  });

  test("returns to the older pod if the newer one is removed", () => {
    const bed = bedWith(isolated);
    bed.pod("x/new", { ips: [WEB] });
    bed.pod("x/new", undefined);
    expect(bed.ingress(API, WEB)).toBe("deny");
  });
});

describe("attach", () => {
  /** x/new has no address yet; x/web has 10.0.0.1. */
  function bed(): Bed {
    const bed = bedWith({ podSelector: ALL, ingress: [{ from: [{ podSelector: { matchLabels: { app: "api" } } }] }] });
    bed.pod("x/new", { labels: { app: "api" }, uid: "1" });
    return bed;
  }

  test("isolates the pod and makes it a peer before its status has addresses", () => {
    const it = bed();
    it.attach("x/new", "1", "10.0.0.8");
    expect([it.ingress("10.0.0.8", WEB), it.ingress(FAR, "10.0.0.8")]).toEqual(["allow", "deny"]);
    it.pod("x/new", { labels: { app: "api" }, uid: "1", ips: ["10.0.0.8"] });
    expect(it.ingress("10.0.0.8", WEB)).toBe("allow");
  });

  test("yields to a status with other addresses", () => {
    const it = bed();
    it.attach("x/new", "1", "10.0.0.8");
    it.pod("x/new", { labels: { app: "api" }, uid: "1", ips: ["10.0.0.9"] });
    expect([it.ingress("10.0.0.8", WEB), it.ingress("10.0.0.9", WEB)]).toEqual(["deny", "allow"]);
  });

  test("of a new sandbox counts beside the addresses of the old one", () => {
    const it = bed();
    it.pod("x/new", { labels: { app: "api" }, uid: "1", ips: ["10.0.0.8"] });
    it.attach("x/new", "1", "10.0.0.9");
    it.pod("x/new", { labels: { app: "api", more: "labels" }, uid: "1", ips: ["10.0.0.8"] });
    expect([it.ingress("10.0.0.8", WEB), it.ingress("10.0.0.9", WEB)]).toEqual(["allow", "allow"]);
    it.pod("x/new", { labels: { app: "api" }, uid: "1", ips: ["10.0.0.9"] });
    expect([it.ingress("10.0.0.8", WEB), it.ingress("10.0.0.9", WEB)]).toEqual(["deny", "allow"]);
  });

  test("takes an address over, and the end of the older pod leaves it", () => {
    const it = bed();
    it.attach("x/new", "1", API);
    it.pod("x/api", { node: "n2", labels: { app: "api", more: "labels" }, ips: [API] });
    expect(it.ingress(FAR, API)).toBe("deny");
    it.pod("x/api", undefined);
    expect([it.ingress(FAR, API), it.ingress(API, WEB)]).toEqual(["deny", "allow"]);
  });

  test.each([
    ["ends", { labels: { app: "api" }, uid: "1", phase: "Failed" }],
    ["is removed", undefined],
    ["is replaced", { labels: { app: "api" }, uid: "2" }],
  ])("ends when the pod %s", (_, pod) => {
    const it = bed();
    it.attach("x/new", "1", "10.0.0.8");
    it.pod("x/new", pod);
    it.pod("x/new", { labels: { app: "api" }, uid: "1" });
    expect([it.ingress("10.0.0.8", WEB), it.ingress(FAR, "10.0.0.8")]).toEqual(["deny", "allow"]);
  });

  test("waits for a pod that is unknown under its UID", () => {
    const it = bed();
    expect([it.map.hasPod("x/new", "1"), it.map.hasPod("x/new", "2")]).toEqual([true, false]);
    it.attach("x/new", "2", "10.0.0.8");
    expect(it.ingress("10.0.0.8", WEB)).toBe("deny");
    it.pod("x/new", undefined);
    it.pod("x/new", { labels: { app: "api" }, uid: "2" });
    expect(it.ingress("10.0.0.8", WEB)).toBe("allow");
  });

  test("finds a static pod by the hash of its configuration", () => {
    const it = bed();
    it.pod("x/new", { labels: { app: "api" }, uid: "1", configHash: "abc" });
    expect(it.map.hasPod("x/new", "abc")).toBe(true);
    it.attach("x/new", "abc", "10.0.0.8");
    expect(it.ingress("10.0.0.8", WEB)).toBe("allow");
  });

  test("keeps addresses of several networks of a pod, and detach removes them", () => {
    const it = bed();
    it.attach("x/new", "1", "10.0.0.8");
    it.attach("x/new", "1", "10.0.0.9");
    expect([it.ingress("10.0.0.8", WEB), it.ingress("10.0.0.9", WEB)]).toEqual(["allow", "allow"]);
    it.map.detach("x/new");
    it.apply();
    expect([it.ingress("10.0.0.8", WEB), it.ingress("10.0.0.9", WEB)]).toEqual(["deny", "deny"]);
  });
});

describe("audit of a Namespace", () => {
  test("changes the profiles of its pods", () => {
    const bed = bedWith({ podSelector: ALL });
    const isAudited = () => [...bed.tables.profiles.values()].map((profile) => profile.isAudited);
    expect(isAudited()).toEqual([false]);
    bed.namespace("x", {}, { "weft/policy-mode": "audit" });
    expect(isAudited()).toEqual([true]);
    expect(bed.map.policies().map((policy) => policy.isAudited)).toEqual([true]);
    bed.namespace("x", {}, { "weft/policy-mode": "other" });
    expect(isAudited()).toEqual([false]);
    bed.namespace("y", {}, { "weft/policy-mode": "audit" });
    expect(bed.apply()).toBe(0);
  });
});

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

describe("judge", () => {
  const question = (from: string, to: string) => ({
    from: parseAddress(from),
    to: parseAddress(to),
    protocol: TCP,
    port: 80,
  });

  test("names exactly the policies that decide, for pods of any node", () => {
    const bed = bedWith({ podSelector: ALL, ingress: [{ from: [{ podSelector: { matchLabels: { app: "web" } } }] }] });
    bed.policy("x/q", { podSelector: ALL, ingress: [{ ports: [{ port: 81 }] }] });
    expect(bed.map.judge(question(WEB, API))).toEqual({
      egress: {
        direction: "egress",
        pod: "x/web",
        isAudited: false,
        verdict: "allow",
        tier: undefined,
        policies: [],
        isByRule: false,
      },
      ingress: {
        direction: "ingress",
        pod: "x/api",
        isAudited: false,
        verdict: "allow",
        tier: "NetworkPolicy",
        policies: ["x/p"],
        isByRule: true,
      },
    });
    expect(bed.map.judge(question(FAR, API))).toMatchObject({
      egress: undefined,
      ingress: { verdict: "deny", policies: ["x/p", "x/q"], isByRule: false },
    });
  });

  test("a pod does not block itself", () => {
    const bed = bedWith({ podSelector: ALL, policyTypes: ["Ingress", "Egress"] });
    expect(bed.map.judge(question(WEB, WEB))).toMatchObject({
      egress: { verdict: "allow" },
      ingress: { verdict: "allow" },
    });
  });
});

describe("lists", () => {
  test("policies are in the order of evaluation, with the pods of this node", () => {
    const bed = bedWith({ podSelector: { matchLabels: { app: "web" } } });
    bed.policy("x/other", { podSelector: { matchLabels: { app: "api" } } });
    const cluster = (tier: string, priority: number) => ({
      ...{ tier, priority, subject: { namespaces: ALL } },
      ingress: [{ action: "Accept", from: [{ namespaces: ALL }] }],
      egress: [{ action: "Deny", to: [{ namespaces: ALL }] }],
    });
    bed.clusterPolicy("b", cluster("Baseline", 1));
    bed.clusterPolicy("a", cluster("Admin", 2));
    bed.clusterPolicy("z", cluster("Admin", 1));
    expect(
      bed.map.policies().map(({ name, tier, priority, directions, pods }) => [name, tier, priority, directions, pods]),
    ).toEqual([
      ["z", "Admin", 1, ["ingress", "egress"], ["x/web"]],
      ["a", "Admin", 2, ["ingress", "egress"], ["x/web"]],
      ["x/p", "NetworkPolicy", undefined, ["ingress"], ["x/web"]],
      ["b", "Baseline", 1, ["ingress", "egress"], ["x/web"]],
    ]);
    expect(bed.map.policiesOf("x/web", "ingress")).toEqual(["a", "x/p", "z"]);
    expect(bed.map.policiesOf("x/web", "egress")).toEqual(["a", "b", "z"]);
    expect([bed.map.podsOf("x/p"), bed.map.podsOf("x/other")]).toEqual([["x/web"], []]);
    expect(bed.map.counts()).toMatchObject({
      policies: 2,
      clusterPolicies: 3,
      pods: 2,
      localPods: 1,
      isolatedPods: 1,
      profiles: 2,
    });
  });
});
