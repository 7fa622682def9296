/** The compiler (pkg/policy) against the oracle: random objects, changed one by one. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { NAMESPACE_PARSER } from "../../pkg/cluster/policy/namespace.ts";
import { NETWORK_POLICY_PARSER } from "../../pkg/cluster/policy/network-policy.ts";
import { POD_PARSER } from "../../pkg/cluster/policy/pod.ts";
import type { KubeObject } from "../../pkg/cluster/resource.ts";
import { parseAddress } from "../../pkg/ip/address.ts";
import { PolicyMap } from "../../pkg/policy/policy-map.ts";
import { PolicyTables } from "../../pkg/policy/tables.ts";
import { isAllowedBySide, type Question, type World } from "./oracle.ts";

const NODE = "n1";
const PROTOCOLS = { TCP: 6, UDP: 17, SCTP: 132, ICMP: 1 } as const;

const label = fc.constantFrom("a", "b", "c");
const labels = fc.record({ pod: label, tier: label }, { requiredKeys: [] });
const expression = fc.oneof(
  fc.record({
    key: fc.constantFrom("pod", "tier"),
    operator: fc.constantFrom("In", "NotIn"),
    values: fc.uniqueArray(label, { minLength: 1 }),
  }),
  fc.record({ key: fc.constantFrom("pod", "tier"), operator: fc.constantFrom("Exists", "DoesNotExist") }),
);
const selector = fc.record(
  { matchLabels: labels, matchExpressions: fc.array(expression, { maxLength: 2 }) },
  { requiredKeys: [] },
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

type Step =
  | { readonly kind: "policy"; readonly namespace: string; readonly name: string; readonly spec: unknown }
  | { readonly kind: "namespace"; readonly name: string; readonly labels: unknown }
  | { readonly kind: "pod"; readonly namespace: string; readonly name: string; readonly pod: unknown };

const step: fc.Arbitrary<Step> = fc.oneof(
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
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("namespace" as const),
      name: namespaceName,
      labels: fc.option(labels, { freq: 4 }),
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

// biome-ignore lint/suspicious/noExplicitAny: objects of the Kubernetes API
type Json = any;

class Cluster {
  readonly objects = {
    policy: new Map<string, Json>(),
    namespace: new Map<string, Json>(),
    pod: new Map<string, Json>(),
  };

  change(change: Step): void {
    const { name } = change;
    if (change.kind === "namespace") {
      this.#set("namespace", name, change.labels && { metadata: { name, labels: change.labels } });
      return;
    }
    const { namespace } = change;
    const metadata = { name, namespace };
    if (change.kind === "policy") {
      this.#set("policy", `${namespace}/${name}`, change.spec && { metadata, spec: change.spec });
      return;
    }
    const { labels: own, number, nodeName, hostNetwork, phase, ports } = (change.pod ?? {}) as Json;
    this.#set(
      "pod",
      `${namespace}/${name}`,
      change.pod && {
        metadata: { ...metadata, labels: own },
        spec: { nodeName, hostNetwork, containers: [{ ports }] },
        status: { phase, podIPs: [{ ip: `10.0.0.${number}` }, { ip: `fd00::${number}` }] },
      },
    );
  }

  #set(kind: "policy" | "namespace" | "pod", key: string, object: Json): void {
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
    const { policy, namespace, pod: pods } = this.objects;
    return { policies: [...policy.values()], namespaces: [...namespace.values()], pods: [...pods.values()] };
  }

  /** Tells `map` of the object that `change` is about. */
  tell(map: PolicyMap, { kind, ...change }: Step): void {
    const key = "namespace" in change ? `${change.namespace}/${change.name}` : change.name;
    const object = this.objects[kind].get(key) as KubeObject | undefined;
    if (kind === "policy") map.setPolicy(key, object && NETWORK_POLICY_PARSER.parse(object));
    else if (kind === "namespace") map.setNamespace(key, object && NAMESPACE_PARSER.parse(object));
    else map.setPod(key, object && POD_PARSER.parse(object));
  }
}

const ADDRESSES = [1, 2, 3, 4, 5, 6, 7]
  .flatMap((n) => [`10.0.0.${n}`, `fd00::${n}`])
  .concat("192.0.2.200", "192.0.2.1", "2001:db8::1");
const PORTS = [79, 80, 81, 85, 443];

function* questions(): Generator<Question> {
  for (const from of ADDRESSES)
    for (const to of ADDRESSES) {
      if (from.includes(":") !== to.includes(":") || from === to) continue;
      for (const name of Object.keys(PROTOCOLS))
        for (const number of PORTS) yield { from, to, protocol: name, port: number };
    }
}

function isLocal(world: World, address: string): boolean {
  return world.pods.some(
    ({ spec, status }) =>
      spec.nodeName === NODE &&
      !spec.hostNetwork &&
      status.phase !== "Succeeded" &&
      status.podIPs.some(({ ip }: Json) => ip === address),
  );
}

function check(tables: PolicyTables, world: World): void {
  const local = new Set(ADDRESSES.filter((address) => isLocal(world, address)));
  for (const question of questions()) {
    const [from, to] = [parseAddress(question.from), parseAddress(question.to)];
    const number = PROTOCOLS[question.protocol as keyof typeof PROTOCOLS];
    for (const side of ["Egress", "Ingress"] as const) {
      const isEgress = side === "Egress";
      if (!local.has(isEgress ? question.from : question.to)) continue;
      const verdict = isEgress
        ? tables.verdict("egress", from, to, number, question.port)
        : tables.verdict("ingress", to, from, number, question.port);
      const allowed = verdict === "allow";
      if (allowed !== isAllowedBySide(world, side, question)) {
        expect({ ...question, side, allowed }).toEqual({ ...question, side, allowed: !allowed });
      }
    }
  }
}

test("after each change the tables answer as the specification does", { timeout: 600_000 }, () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 20 }), (steps) => {
      const [cluster, map, tables] = [new Cluster(), new PolicyMap(NODE), new PolicyTables()];
      for (const [at, each] of steps.entries()) {
        cluster.change(each);
        cluster.tell(map, each);
        for (const change of map.changes()) tables.apply(change);
        // The whole table only now and then: it has thousands of questions.
        if (cluster.isSound && (at === steps.length - 1 || at % 5 === 4)) check(tables, cluster.world);
      }
    }),
    { numRuns: Number(process.env.WEFT_POLICY_RUNS ?? 100) },
  );
});

test("nothing is left when all objects are gone", () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 15 }), (steps) => {
      const [cluster, map, tables] = [new Cluster(), new PolicyMap(NODE), new PolicyTables()];
      const apply = (each: Step) => {
        cluster.change(each);
        cluster.tell(map, each);
        for (const change of map.changes()) tables.apply(change);
      };
      for (const each of steps) apply(each);
      for (const each of steps) {
        if (each.kind === "pod") apply({ ...each, pod: undefined });
        else if (each.kind === "policy") apply({ ...each, spec: undefined });
      }
      const { peers, pods, blocks, profiles, subjects } = tables;
      expect([peers, pods, blocks, profiles, subjects].map(({ size }) => size)).toEqual([0, 0, 0, 0, 0]);
    }),
  );
});
