/** Random objects of the Kubernetes API that concern policies, and a cluster of them that changes step by step. */
import fc from "fast-check";
import { CLUSTER_NETWORK_POLICY_PARSER } from "../../pkg/cluster/policy/cluster-network-policy.ts";
import { NAMESPACE_PARSER } from "../../pkg/cluster/policy/namespace.ts";
import { NETWORK_POLICY_PARSER } from "../../pkg/cluster/policy/network-policy.ts";
import { POD_PARSER } from "../../pkg/cluster/policy/pod.ts";
import type { KubeObject } from "../../pkg/cluster/resource.ts";
import type { PolicyMap } from "../../pkg/policy/policy-map.ts";
import type { World } from "./oracle.ts";

/** The node whose tables the tests compile. */
export const NODE = "n1";

// biome-ignore lint/suspicious/noExplicitAny: objects of the Kubernetes API
type Json = any;

const label = fc.constantFrom("a", "b");
const labels = fc.record({ pod: label, tier: label }, { requiredKeys: [] });
const expression = fc.oneof(
  fc.record({
    key: fc.constantFrom("pod", "tier"),
    operator: fc.constantFrom("In", "NotIn"),
    values: fc.uniqueArray(label, { minLength: 1 }),
  }),
  fc.record({ key: fc.constantFrom("pod", "tier"), operator: fc.constantFrom("Exists", "DoesNotExist") }),
);
/** Mostly broad: rules of several policies must often match the same connection. */
const selector = fc.oneof(
  { weight: 3, arbitrary: fc.constant({}) },
  { weight: 3, arbitrary: fc.record({ matchLabels: labels }) },
  {
    weight: 2,
    arbitrary: fc.record(
      { matchLabels: labels, matchExpressions: fc.array(expression, { maxLength: 2 }) },
      { requiredKeys: [] },
    ),
  },
);
const CIDRS = [
  "0.0.0.0/0",
  "10.0.0.0/24",
  "10.0.0.0/29",
  "10.0.0.4/30",
  "192.0.2.0/24",
  "::/0",
  "fd00::/64",
  "fd00::4/126",
];
const block = fc.record(
  { cidr: fc.constantFrom(...CIDRS), except: fc.array(fc.constantFrom("10.0.0.2/31", "fd00::2/127", "192.0.2.0/25")) },
  { requiredKeys: ["cidr"] },
);
const peer = fc.oneof(
  fc.record({ ipBlock: block }),
  fc.record({ podSelector: selector }),
  fc.record({ namespaceSelector: selector }),
  fc.record({ podSelector: selector, namespaceSelector: selector }),
);
const protocol = fc.constantFrom("TCP", "UDP", "SCTP");
const port = fc.oneof(
  fc.record({ protocol }, { requiredKeys: [] }),
  fc.record(
    { protocol, port: fc.constantFrom<number | string>(80, 81, 443, "web", "dns") },
    { requiredKeys: ["port"] },
  ),
  fc.record(
    { protocol, port: fc.constant(80), endPort: fc.integer({ min: 80, max: 90 }) },
    { requiredKeys: ["port", "endPort"] },
  ),
);
const rules = (side: "from" | "to") =>
  fc.array(
    fc.record(
      { [side]: fc.array(peer, { maxLength: 2 }), ports: fc.array(port, { maxLength: 2 }) },
      { requiredKeys: [] },
    ),
    { maxLength: 2 },
  );
const policySpec = fc.record(
  {
    podSelector: selector,
    ingress: rules("from"),
    egress: rules("to"),
    policyTypes: fc.uniqueArray(fc.constantFrom("Ingress", "Egress"), { minLength: 1 }),
  },
  { requiredKeys: ["podSelector"] },
);

const NAMESPACES = ["x", "y", "z"];
const namespaceName = fc.constantFrom(...NAMESPACES);

const pod = fc.record({
  labels,
  number: fc.integer({ min: 1, max: 7 }),
  nodeName: fc.constantFrom(NODE, NODE, "n2"),
  hostNetwork: fc.constantFrom(false, false, false, true),
  phase: fc.constantFrom("Running", "Running", "Pending", "Succeeded"),
  ports: fc.array(
    fc.record({ name: fc.constantFrom("web", "dns"), protocol, containerPort: fc.constantFrom(80, 81, 443) }),
    { maxLength: 2 },
  ),
});

const clusterPeer = (side: "from" | "to") =>
  fc.oneof(
    { weight: 3, arbitrary: fc.record({ namespaces: selector }) },
    { weight: 3, arbitrary: fc.record({ pods: fc.record({ namespaceSelector: selector, podSelector: selector }) }) },
    ...(side === "to"
      ? [
          {
            weight: 3,
            arbitrary: fc.record({
              networks: fc.uniqueArray(fc.constantFrom(...CIDRS), { minLength: 1, maxLength: 2 }),
            }),
          },
        ]
      : []),
    { weight: 1, arbitrary: fc.constantFrom<Json>({}, { domainNames: ["example.com"] }, { nodes: {} }) },
  );
const destinationPort = fc.oneof(
  fc.record({ number: fc.constantFrom(80, 81, 443) }),
  fc.record({ range: fc.record({ start: fc.constant(79), end: fc.integer({ min: 80, max: 90 }) }) }),
);
const clusterProtocol = fc.oneof(
  { weight: 6, arbitrary: fc.record({ tcp: fc.record({ destinationPort }, { requiredKeys: [] }) }) },
  { weight: 2, arbitrary: fc.record({ udp: fc.record({ destinationPort }) }) },
  { weight: 1, arbitrary: fc.record({ sctp: fc.record({ destinationPort }) }) },
  { weight: 4, arbitrary: fc.record({ destinationNamedPort: fc.constantFrom("web", "dns") }) },
  { weight: 1, arbitrary: fc.constantFrom<Json>({ icmp: { type: 8 } }, {}) },
);
const clusterRules = (side: "from" | "to") =>
  fc.array(
    fc.record(
      {
        action: fc.constantFrom("Accept", "Deny", "Pass"),
        [side]: fc.array(clusterPeer(side), { minLength: 1, maxLength: 2 }),
        protocols: fc.array(clusterProtocol, { minLength: 1, maxLength: 2 }),
      },
      { requiredKeys: ["action", side] },
    ),
    { maxLength: 3 },
  );
const clusterPolicySpec = fc.record(
  {
    tier: fc.constantFrom("Admin", "Baseline"),
    priority: fc.integer({ min: 0, max: 2 }),
    subject: fc.oneof(
      fc.record({ namespaces: selector }),
      fc.record({ pods: fc.record({ namespaceSelector: selector, podSelector: selector }) }),
    ),
    ingress: clusterRules("from"),
    egress: clusterRules("to"),
  },
  { requiredKeys: ["tier", "priority", "subject"] },
);

export type Step =
  | { readonly kind: "policy"; readonly namespace: string; readonly name: string; readonly spec: unknown }
  | { readonly kind: "clusterPolicy"; readonly name: string; readonly spec: unknown }
  | { readonly kind: "namespace"; readonly name: string; readonly labels: unknown; readonly isAudited: boolean }
  | { readonly kind: "pod"; readonly namespace: string; readonly name: string; readonly pod: unknown };

export const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("policy" as const),
      namespace: namespaceName,
      name: fc.constantFrom("p", "q", "r"),
      spec: fc.option(policySpec, { freq: 4 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("clusterPolicy" as const),
      name: fc.constantFrom("s", "t", "u"),
      spec: fc.option(clusterPolicySpec, { freq: 4 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("namespace" as const),
      name: namespaceName,
      labels: fc.option(labels, { freq: 4 }),
      isAudited: fc.boolean(),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("pod" as const),
      namespace: namespaceName,
      name: fc.constantFrom("a", "b"),
      pod: fc.option(pod, { freq: 4 }),
    }),
  },
);

export class Cluster {
  readonly objects = {
    policy: new Map<string, Json>(),
    clusterPolicy: new Map<string, Json>(),
    namespace: new Map<string, Json>(),
    pod: new Map<string, Json>(),
  };

  copy(): Cluster {
    const copy = new Cluster();
    for (const kind of ["policy", "clusterPolicy", "namespace", "pod"] as const) {
      for (const [key, object] of this.objects[kind]) copy.objects[kind].set(key, object);
    }
    return copy;
  }

  change(change: Step): void {
    const { kind } = change;
    const key = keyOf(change);
    const object = objectOf(change);
    if (object) this.objects[kind].set(key, object);
    else this.objects[kind].delete(key);
  }

  /** False while two pods have one address: then the owner of its traffic is unknown. */
  get isSound(): boolean {
    const used = [...this.objects.pod.values()]
      .filter(({ spec, status }) => !spec.hostNetwork && status.phase !== "Succeeded")
      .map(({ status }) => status.podIPs[0].ip);
    return new Set(used).size === used.length;
  }

  get world(): World {
    const { policy, clusterPolicy, namespace, pod: pods } = this.objects;
    return {
      policies: [...policy.values()],
      clusterPolicies: [...clusterPolicy.values()],
      namespaces: [...namespace.values()],
      pods: [...pods.values()],
    };
  }

  /** Passes the object of `change` to `map`, as it is now. */
  tell(map: PolicyMap, change: Step): void {
    this.#put(map, change.kind, keyOf(change));
  }

  /** Passes all objects to `map`, sorted by `order`. */
  tellAll(map: PolicyMap, order: (key: string) => number): void {
    const all = Object.entries(this.objects).flatMap(([kind, objects]) =>
      [...objects.keys()].map((key) => ({ kind: kind as Step["kind"], key })),
    );
    for (const { kind, key } of all.sort((a, b) => order(a.kind + a.key) - order(b.kind + b.key))) {
      this.#put(map, kind, key);
    }
  }

  #put(map: PolicyMap, kind: Step["kind"], key: string): void {
    const object = this.objects[kind].get(key) as KubeObject | undefined;
    if (kind === "policy") map.setPolicy(key, object && NETWORK_POLICY_PARSER.parse(object));
    else if (kind === "clusterPolicy") map.setClusterPolicy(key, object && CLUSTER_NETWORK_POLICY_PARSER.parse(object));
    else if (kind === "namespace") map.setNamespace(key, object && NAMESPACE_PARSER.parse(object));
    else map.setPod(key, object && POD_PARSER.parse(object));
  }
}

function keyOf(change: Step): string {
  return "namespace" in change ? `${change.namespace}/${change.name}` : change.name;
}

function objectOf(change: Step): Json {
  const { name } = change;
  switch (change.kind) {
    case "namespace": {
      const annotations = change.isAudited ? { "weft/policy-mode": "audit" } : {};
      return change.labels && { metadata: { name, labels: change.labels, annotations } };
    }
    case "clusterPolicy":
      return change.spec && { metadata: { name }, spec: change.spec };
    case "policy":
      return change.spec && { metadata: { name, namespace: change.namespace }, spec: change.spec };
    case "pod": {
      const { labels: own, number, nodeName, hostNetwork, phase, ports } = (change.pod ?? {}) as Json;
      return (
        change.pod && {
          metadata: { name, namespace: change.namespace, labels: own },
          spec: { nodeName, hostNetwork, containers: [{ ports }] },
          status: { phase, podIPs: [{ ip: `10.0.0.${number}` }, { ip: `fd00::${number}` }] },
        }
      );
    }
  }
}

/**
 * Changes of a cluster that begins with some pods. Without `size`, fast-check would make about ten changes, which concern
 * too few pods.
 */
export const steps: fc.Arbitrary<readonly Step[]> = fc
  .tuple(fc.array(pod, { minLength: 5, maxLength: 5 }), fc.array(step, { minLength: 1, maxLength: 35, size: "max" }))
  .map(([pods, changes]) => [
    ...pods.map((each, at): Step => {
      const [namespace, name] = [NAMESPACES[at % 3] as string, at < 3 ? "a" : "b"];
      return { kind: "pod", namespace, name, pod: { ...each, number: at + 1 } };
    }),
    ...changes,
  ]);
