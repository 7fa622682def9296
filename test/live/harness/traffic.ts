/** Measures which pods and nodes reach which pods, and the source address each one is seen with. */
import { type Cluster, ECHO_PORT, type Pod } from "./cluster.ts";

export interface Reach {
  /** Ordered pairs of pods, in each family. */
  readonly pairs: number;
  readonly reached: number;
  /** Pairs of a node and a pod. */
  readonly nodePairs: number;
  readonly nodesReached: number;
  /** The failures, as text. */
  readonly failures: readonly string[];
}

/** The kernel sends three neighbour requests, a second apart, while the packet waits. */
const RESOLUTION_SECONDS = 5;

/** Pings every pod from every other pod and every node, and connects to it by TCP, at each of its addresses. */
export async function measureReach(cluster: Cluster): Promise<Reach> {
  const pairs = podPairs(cluster.pods);
  const nodePairs = cluster.nodes.flatMap((from) =>
    cluster.pods.flatMap((to) => to.addresses.map((address) => ({ from, to, address }))),
  );
  const pairFailures = await Promise.all(pairs.map(tryPair));
  const nodeFailures = await Promise.all(
    nodePairs.map(async ({ from, to, address }) =>
      (await from.inside.pings(address)) ? undefined : `node ${from.name} does not reach ${to.name} (${address})`,
    ),
  );
  const failed = (list: readonly (string | undefined)[]) => list.filter((failure) => failure !== undefined);
  return {
    ...{ pairs: pairs.length, reached: pairs.length - failed(pairFailures).length },
    ...{ nodePairs: nodePairs.length, nodesReached: nodePairs.length - failed(nodeFailures).length },
    failures: [...failed(pairFailures), ...failed(nodeFailures)],
  };
}

/** One pod that connects to another, at their addresses of one family. */
export interface PodPair {
  readonly from: Pod;
  readonly to: Pod;
  readonly source: string;
  readonly target: string;
}

export function podPairs(pods: readonly Pod[]): readonly PodPair[] {
  return pods.flatMap((from) =>
    pods
      .filter((to) => to !== from)
      .flatMap((to) =>
        to.addresses.flatMap((target, at) => {
          const source = from.addresses[at];
          return source === undefined ? [] : [{ from, to, source, target }];
        }),
      ),
  );
}

async function tryPair({ from, to, source, target }: PodPair): Promise<string | undefined> {
  const pair = `${from.name} (${source}) -> ${to.name} (${target})`;
  if (!(await from.inside.pings(target, RESOLUTION_SECONDS))) {
    const [way, neighbours] = [["route", "get", target], ["neigh"]].map((args) => from.node.inside.succeed("ip", args));
    return `${pair}: no answer to ping; its node: ${await way}${await neighbours}`;
  }
  try {
    const seen = await from.inside.seenBy(target, ECHO_PORT);
    return seen === source ? undefined : `${pair}: was seen as ${seen}`;
  } catch (error) {
    return `${pair}: ${error instanceof Error ? error.message : error}`;
  }
}
