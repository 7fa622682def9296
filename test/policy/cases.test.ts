/** The cases of truth tables without a kernel: objects are read without problems, and the compiler's tables are right. */
import { describe, expect, test } from "vitest";
import { CLUSTER_NETWORK_POLICY_PARSER } from "../../pkg/cluster/policy/cluster-network-policy.ts";
import { NAMESPACE_PARSER } from "../../pkg/cluster/policy/namespace.ts";
import { NETWORK_POLICY_PARSER } from "../../pkg/cluster/policy/network-policy.ts";
import { POD_PARSER } from "../../pkg/cluster/policy/pod.ts";
import type { KubeObject } from "../../pkg/cluster/resource.ts";
import { parseAddress } from "../../pkg/ip/address.ts";
import { PolicyMap } from "../../pkg/policy/policy-map.ts";
import { PolicyTables } from "../../pkg/policy/tables.ts";
import type { Case } from "./case.ts";
import { CASES, isSampled } from "./cases/all.ts";
import { UPSTREAM } from "./scenarios/upstream.ts";
import { type Addresses, type Change, NODES, type PodRecord, Scene } from "./scene.ts";
import { CLASSES, type Endpoint, expectedTable, type ProbeClass, specified } from "./truth-table.ts";

const PROTOCOL_NUMBERS = { 4: { TCP: 6, UDP: 17, SCTP: 132, ICMP: 1 }, 6: { TCP: 6, UDP: 17, SCTP: 132, ICMP: 58 } };

/** The compilers of both nodes, with tables as the kernel would have them. */
class CompiledCluster {
  readonly scene = new Scene({
    write: (change) => this.#write(change),
    attach: (pod) => this.#attach(pod),
    detach: () => undefined,
  });
  readonly problems: string[] = [];
  readonly #nodes = NODES.map((name) => ({ name, map: new PolicyMap(name), tables: new PolicyTables() }));
  readonly #counts = new Map<string, number>();

  get endpoints(): readonly Endpoint[] {
    const pods = this.scene.pods.flatMap(({ key, node, addresses }): Endpoint[] =>
      addresses === undefined ? [] : [{ name: key, kind: "pod", node, addresses }],
    );
    const nodes = NODES.map((name, at): Endpoint => {
      const addresses = { 4: `192.0.2.${at + 1}`, 6: `2001:db8::${at + 1}` };
      return { name, kind: "node", node: name, addresses };
    });
    return [...pods, ...nodes];
  }

  /** The rule of the tables. A pod's own node and the pod itself always reach it: their packets pass no hook. */
  isReachable(from: Endpoint, to: Endpoint, { family, protocol, port }: ProbeClass): boolean {
    if (from === to || (from.kind === "node" && from.node === to.node)) return true;
    const [source, destination] = [parseAddress(from.addresses[family]), parseAddress(to.addresses[family])];
    const number = PROTOCOL_NUMBERS[family][protocol];
    const tablesOf = ({ node }: Endpoint) => this.#nodes.find(({ name }) => name === node)?.tables as PolicyTables;
    return (
      tablesOf(from).verdict("egress", source, destination, number, port) === "allow" &&
      tablesOf(to).verdict("ingress", destination, source, number, port) === "allow"
    );
  }

  /** An address is never used twice, as host-local chooses them. */
  #attach({ node }: PodRecord): Addresses {
    const number = (this.#counts.get(node) ?? 1) + 1;
    this.#counts.set(node, number);
    const subnet = NODES.indexOf(node) + 1;
    return { 4: `10.244.${subnet}.${number}`, 6: `fd00:10:244:${subnet}::${number.toString(16)}` };
  }

  #write({ kind, key, object }: Change): void {
    const parsed = object as KubeObject | undefined;
    for (const { map, tables } of this.#nodes) {
      if (kind === "policy") {
        const policy = parsed && NETWORK_POLICY_PARSER.parse(parsed);
        this.problems.push(...(policy?.problems ?? []));
        map.setPolicy(key, policy);
      } else if (kind === "cluster policy") {
        const policy = parsed && CLUSTER_NETWORK_POLICY_PARSER.parse(parsed);
        this.problems.push(...(policy?.problems ?? []));
        map.setClusterPolicy(key, policy);
      } else if (kind === "namespace") map.setNamespace(key, parsed && NAMESPACE_PARSER.parse(parsed));
      else map.setPod(key, parsed && POD_PARSER.parse(parsed));
      for (const change of map.changes()) tables.apply(change);
    }
  }
}

/** The probes whose fate differs, in words. */
function differences(endpoints: readonly Endpoint[], one: string, other: string): string[] {
  const size = endpoints.length;
  return [...one].flatMap((wanted, at) => {
    if (wanted === other[at]) return [];
    const { family, protocol, port } = CLASSES[Math.floor(at / (size * size))] as ProbeClass;
    const [from, to] = [endpoints[Math.floor(at / size) % size]?.name, endpoints[at % size]?.name];
    return [
      `${from} -> ${to}, IPv${family} ${protocol} ${port}: ${wanted} by the specification, ${other[at]} compiled`,
    ];
  });
}

async function play(cluster: CompiledCluster, { name, steps }: Case): Promise<void> {
  const { scene } = cluster;
  await scene.reset();
  for (const { title, actions } of steps) {
    for (const action of actions({ addressOf: (pod, family) => scene.addressOf(pod, family) }))
      await scene.perform(action);
    const { endpoints } = cluster;
    const specifiedTable = expectedTable(endpoints, specified(scene.world));
    const compiled = expectedTable(endpoints, (...probe) => cluster.isReachable(...probe));
    const where = `${name}, after "${title}"`;
    expect({ where, differences: differences(endpoints, specifiedTable, compiled) }).toEqual({
      where,
      differences: [],
    });
  }
  expect(cluster.problems).toEqual([]);
}

/** All cases with `npm run test:fuzz` and `npm run test:policy`, else the sample. */
const isWhole = process.env.WEFT_FUZZ !== undefined || process.env.WEFT_TEST_ALL === "1";
const groups = [...new Set(CASES.map(({ group }) => group))];

test.each(groups)("the compiler agrees with the specification in each case of %s", async (group) => {
  const cluster = new CompiledCluster();
  const cases = CASES.filter((each, at) => each.group === group && (isWhole || isSampled(each, at)));
  for (const one of cases) await play(cluster, one);
});

describe("the cases", () => {
  test("have different names", () => {
    const names = CASES.map(({ group, name }) => `${group}: ${name}`);
    expect(names.filter((name, at) => names.indexOf(name) !== at)).toEqual([]);
  });

  test("are 48 behaviours of Kubernetes' own tests and at least 230 others", () => {
    expect(UPSTREAM).toHaveLength(48);
    expect(CASES.length - UPSTREAM.length).toBeGreaterThanOrEqual(230);
  });

  test("have a sample with cases of each group", () => {
    const sampled = new Set(CASES.filter(isSampled).map(({ group }) => group));
    expect([...sampled]).toEqual(groups);
  });

  test("deny some probes and allow others in each group", async () => {
    const cluster = new CompiledCluster();
    for (const group of groups) {
      let tables = "";
      for (const { steps } of CASES.filter((each) => each.group === group).slice(0, 3)) {
        await cluster.scene.reset();
        for (const { actions } of steps) {
          for (const action of actions({ addressOf: (pod, family) => cluster.scene.addressOf(pod, family) }))
            await cluster.scene.perform(action);
          tables += expectedTable(cluster.endpoints, specified(cluster.scene.world));
        }
      }
      expect({ group, isMixed: tables.includes("0") && tables.includes("1") }).toEqual({ group, isMixed: true });
    }
  });
});
