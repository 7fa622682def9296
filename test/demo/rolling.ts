/** The second part of the demo: a cluster changes its backend node by node while all pods ping each other. */
import type { Cleanup } from "../live/harness/cleanup.ts";
import { Cluster } from "../live/harness/cluster.ts";
import { type Loss, Pings, roll, type Way } from "../live/harness/roll.ts";
import { measureReach, type Reach } from "../live/harness/traffic.ts";
import { attachPods, type EpisodeOptions, settle } from "./episode.ts";
import type { Progress } from "./progress.ts";

export interface Rolling extends Omit<EpisodeOptions, "mode"> {
  readonly cluster: Cluster;
  readonly stages: readonly (Stage & Loss)[];
  /** After the last change. */
  readonly reach: Reach;
}

interface Stage {
  readonly to: string;
  readonly way: Way;
}

const FIRST = "vxlan";
const STAGES: readonly Stage[] = [
  { to: "host-gw", way: "restart" },
  { to: "auto", way: "reload" },
];

const PING_MS = 20;

export async function playRolling(
  options: Omit<EpisodeOptions, "mode">,
  cleanup: Cleanup,
  progress: Progress,
): Promise<Rolling> {
  const { nodes, podsPerNode, families, attach } = options;
  progress.step("starting the API server");
  const cluster = await Cluster.start(FIRST, cleanup, { families, attach });
  progress.step(`starting ${nodes} nodes`);
  for (let number = 1; number <= nodes; number++) await cluster.addNode(number);
  await settle(cluster);
  progress.step(`attaching ${podsPerNode} pods to each node`);
  for (const node of cluster.nodes) await attachPods(cluster, node, podsPerNode);
  const stages: (Stage & Loss)[] = [];
  for (const stage of STAGES) {
    const pings = new Pings(cluster, PING_MS, cleanup);
    await roll(cluster, { Type: stage.to }, stage.way, ({ name }) => progress.step(`${name} changes to ${stage.to}`));
    stages.push({ ...stage, ...(await pings.stop()) });
  }
  progress.step("connecting every pod to every pod");
  return { ...options, cluster, stages, reach: await measureReach(cluster) };
}
