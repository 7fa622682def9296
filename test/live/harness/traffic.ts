/** Who reaches whom, and under which address. */
import { type Cluster, ECHO_PORT, type Pod } from "./cluster.ts";

export interface Reach {
  /** Ordered pairs of pods. */
  readonly pairs: number;
  readonly reached: number;
  /** Node to pod. */
  readonly nodePairs: number;
  readonly nodesReached: number;
  /** What went wrong, in words. */
  readonly failures: readonly string[];
}

/** Every pod is pinged from every other pod and from every node, and talked to by TCP under its own address. */
export async function measureReach(cluster: Cluster): Promise<Reach> {
  const pairs = cluster.pods.flatMap((from) => cluster.pods.filter((to) => to !== from).map((to) => ({ from, to })));
  const nodePairs = cluster.nodes.flatMap((from) => cluster.pods.map((to) => ({ from, to })));
  const pairFailures = await Promise.all(pairs.map(({ from, to }) => tryPair(from, to)));
  const nodeFailures = await Promise.all(
    nodePairs.map(async ({ from, to }) =>
      (await from.inside.pings(to.address)) ? undefined : `node ${from.name} does not reach ${to.name} (${to.address})`,
    ),
  );
  const failed = (list: readonly (string | undefined)[]) => list.filter((failure) => failure !== undefined);
  return {
    ...{ pairs: pairs.length, reached: pairs.length - failed(pairFailures).length },
    ...{ nodePairs: nodePairs.length, nodesReached: nodePairs.length - failed(nodeFailures).length },
    failures: [...failed(pairFailures), ...failed(nodeFailures)],
  };
}

async function tryPair(from: Pod, to: Pod): Promise<string | undefined> {
  const pair = `${from.name} (${from.address}) -> ${to.name} (${to.address})`;
  if (!(await from.inside.pings(to.address))) return `${pair}: no answer to ping`;
  try {
    const seen = await from.inside.seenBy(to.address, ECHO_PORT);
    return seen === from.address ? undefined : `${pair}: was seen as ${seen}`;
  } catch (error) {
    return `${pair}: ${error instanceof Error ? error.message : error}`;
  }
}
