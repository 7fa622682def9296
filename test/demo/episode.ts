/** One mode of the demo, from an empty machine to the measurements. */
import type { Cleanup } from "../live/harness/cleanup.ts";
import { Cluster, type Families, type Mode, type Node } from "../live/harness/cluster.ts";
import { eventually } from "../live/harness/process.ts";
import { measureReach, type Reach } from "../live/harness/traffic.ts";
import type { Progress } from "./progress.ts";

export interface EpisodeOptions {
  readonly mode: Mode;
  readonly nodes: number;
  readonly podsPerNode: number;
  readonly families: Families;
  readonly attach: "bridge" | "ptp";
  /** The executables' folder. Default: this tree's. */
  readonly bin?: string;
}

export interface Episode extends EpisodeOptions {
  readonly cluster: Cluster;
  /** With the initial nodes. */
  readonly first: Reach;
  /** After one node was deleted and another added. */
  readonly second: Reach;
  /** The total time of the network's plugins, for each pod. */
  readonly addMs: readonly number[];
  /**
   * The time from a Node event's arrival at a weftd to the programmed kernel, for each event that changed something.
   */
  readonly programmedMs: readonly number[];
}

export async function play(
  options: EpisodeOptions,
  cleanup: Cleanup,
  progress: Pick<Progress, "step">,
): Promise<Episode> {
  const { mode, nodes, podsPerNode, families, attach, bin } = options;
  progress.step("starting the API server");
  const cluster = await Cluster.start(mode, cleanup, { families, attach, ...(bin !== undefined && { bin }) });
  progress.step(`starting ${nodes} nodes`);
  for (let number = 1; number <= nodes; number++) await cluster.addNode(number);
  await settle(cluster);
  progress.step(`attaching ${podsPerNode} pods to each node`);
  for (const node of cluster.nodes) await attachPods(cluster, node, podsPerNode);
  const addMs = cluster.pods.map((pod) => pod.addMs);
  progress.step("connecting every pod to every pod");
  const first = await measureReach(cluster);

  const leaving = cluster.nodes.at(-1) as Node;
  const logs = cluster.nodes.map((node) => () => node.weftd.output);
  progress.step(`${leaving.name} is deleted, n${nodes + 1} is added`);
  await cluster.deleteNode(leaving);
  const joined = await cluster.addNode(nodes + 1);
  logs.push(() => joined.weftd.output);
  await settle(cluster);
  await cluster.stopNode(leaving);
  await attachPods(cluster, joined, podsPerNode);
  addMs.push(...cluster.pods.filter(({ node }) => node === joined).map((pod) => pod.addMs));
  progress.step("connecting every pod to every pod again");
  const second = await measureReach(cluster);
  return { ...options, cluster, first, second, addMs, programmedMs: logs.flatMap((log) => programmingTimes(log())) };
}

export async function attachPods(cluster: Cluster, node: Node, pods: number): Promise<void> {
  for (let at = 1; at <= pods; at++) await cluster.addPod(node, `p${at}`);
}

/** Waits until each node has exactly the routes to the others; routes to deleted nodes must be pruned. */
export async function settle(cluster: Cluster): Promise<void> {
  for (const node of cluster.nodes) {
    const wanted = cluster.nodes.filter((other) => other !== node).flatMap((other) => cluster.subnetsOf(other));
    await eventually(async () => {
      const routes = [...(await cluster.peerRoutes(node)).keys()].sort();
      if (routes.join() !== wanted.sort().join()) {
        throw new Error(
          `${node.name} has routes to ${routes.join(", ") || "no node"}: expected ${wanted.join(", ")}\n${node.weftd.output}`,
        );
      }
    });
  }
}

/** weftd's own measurement, from its log. */
function programmingTimes(log: string): number[] {
  return log.split("\n").flatMap((line) => {
    if (!line.includes('"data path programmed"')) return [];
    const { eventToProgrammedMs, connected } = JSON.parse(line) as { eventToProgrammedMs?: number; connected: number };
    return eventToProgrammedMs === undefined || connected === 0 ? [] : [eventToProgrammedMs];
  });
}
