/** `npm run demo`: pods on several nodes reach each other by their own addresses, while nodes are added and removed. */
import { Command, InvalidArgumentError, Option } from "commander";
import { Cleanup, Interrupted } from "../live/harness/cleanup.ts";
import type { Families, Mode } from "../live/harness/cluster.ts";
import { sweepLeftovers } from "../live/harness/leftovers.ts";
import { play as playEpisode } from "./episode.ts";
import { Progress } from "./progress.ts";
import { episodeResult, type Result, rollingResult, servingResult, sights } from "./report.ts";
import { playRolling } from "./rolling.ts";
import { playServices } from "./services.ts";

const MODES = ["vxlan", "host-gw"] as const satisfies readonly Mode[];

const count = (most: number) => (text: string) => {
  const number = Number(text);
  if (!Number.isInteger(number) || number < 1 || number > most)
    throw new InvalidArgumentError(`Expected a number from 1 to ${most}.`);
  return number;
};

const options = new Command("npm run demo --")
  .description(
    "Starts an API server, nodes and their weftd in network namespaces of this machine, attaches pods as a container " +
      "runtime does, connects every pod to every other by ping and TCP, and replaces a node meanwhile. Needs root.",
  )
  .addOption(new Option("--nodes <number>", "number of nodes").argParser(count(20)).default(3))
  .addOption(new Option("--pods <number>", "number of pods on each node").argParser(count(20)).default(2))
  .addOption(
    new Option("--mode <mode>", "backend between the nodes").choices([...MODES, "auto", "both"]).default("both"),
  )
  .addOption(
    new Option("--family <family>", "IP families of pods and nodes").choices(["ipv4", "ipv6", "dual"]).default("ipv4"),
  )
  .addOption(new Option("--attach <plugin>", "plugin that attaches pods").choices(["bridge", "ptp"]).default("bridge"))
  .addOption(
    new Option("--roll", "change vxlan -> host-gw -> auto node by node, while all pods ping each other").conflicts(
      "mode",
    ),
  )
  .addOption(
    new Option(
      "--services",
      "run Services without kube-proxy: connect to ClusterIP and NodePort from everywhere, remove an endpoint under load, time first packets",
    ).conflicts("roll"),
  )
  .addOption(new Option("--keep", "keep everything running at the end, until Ctrl-C, for inspection"))
  .parse()
  .opts<{
    nodes: number;
    pods: number;
    mode: Mode | "both";
    family: Families;
    attach: "bridge" | "ptp";
    roll?: boolean;
    services?: boolean;
    keep?: boolean;
  }>();

await sweepLeftovers();
const cleanup = new Cleanup();
const interrupted = cleanup.onSignals();
const { nodes, pods, family, attach } = options;
const episode = { nodes, podsPerNode: pods, families: family, attach };
const modes = options.mode === "both" ? MODES : [options.mode];
const results: Result[] = [];
let failed = false;
const plays = options.roll === true ? (["roll"] as const) : options.services === true ? (["services"] as const) : modes;
for (const play of plays) {
  if (cleanup.interruption !== undefined) break;
  const progress = new Progress(play);
  try {
    results.push(
      play === "roll"
        ? rollingResult(await playRolling(episode, cleanup, progress))
        : play === "services"
          ? servingResult(await playServices({ ...episode, mode: modes[0] as Mode }, cleanup, progress))
          : episodeResult(await playEpisode({ ...episode, mode: play }, cleanup, progress)),
    );
  } catch (error) {
    failed = true;
    // A failure after Ctrl-C is a consequence of it.
    progress.fail(cleanup.interruption === undefined ? error : new Interrupted());
  }
  if (options.keep !== true) await cleanUp(progress);
  progress.end();
}
for (const { table } of results) console.log(`${table}\n`);
for (const { line } of results) console.log(line);
if (options.keep === true) {
  console.log("\neverything is still running; Ctrl-C removes it:");
  for (const { cluster } of results) console.log(sights(cluster));
  await interrupted;
  await cleanUp(new Progress("all"));
} else if (cleanup.interruption !== undefined) process.exit(cleanup.interruption);
process.exit(failed || results.some(({ isGood }) => !isGood) ? 1 : 0);

async function cleanUp(progress: Progress): Promise<void> {
  progress.step("cleaning up");
  try {
    await cleanup.run();
  } catch (error) {
    failed = true;
    progress.fail(error);
  }
}
