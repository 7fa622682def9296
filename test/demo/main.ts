/** `npm run demo`: pods on several nodes reach each other by their own addresses, while nodes come and go. */
import { Command, Option } from "commander";
import { Cleanup } from "../live/harness/cleanup.ts";
import type { Mode } from "../live/harness/cluster.ts";
import { sweepLeftovers } from "../live/harness/namespace.ts";
import { type Episode, play } from "./episode.ts";
import { Progress } from "./progress.ts";
import { resultLine, resultTable } from "./report.ts";

const MODES = ["vxlan", "host-gw"] as const satisfies readonly Mode[];

const count = (most: number) => (text: string) => {
  const number = Number(text);
  if (!Number.isInteger(number) || number < 1 || number > most)
    throw new Error(`expected a number from 1 to ${most}, got ${text}`);
  return number;
};

const options = new Command("npm run demo --")
  .description(
    "Brings up an API server, nodes and their weftd in network namespaces of this machine, attaches pods as a container " +
      "runtime does, lets every pod reach every other by ping and TCP, and replaces a node meanwhile. Root is needed.",
  )
  .addOption(new Option("--nodes <number>", "nodes of the cluster").argParser(count(20)).default(3))
  .addOption(new Option("--pods <number>", "pods on each node").argParser(count(20)).default(2))
  .addOption(new Option("--mode <mode>", "how nodes are joined").choices([...MODES, "both"]).default("both"))
  .addOption(new Option("--keep", "leave everything up at the end, until Ctrl-C, to look around"))
  .parse()
  .opts<{ nodes: number; pods: number; mode: Mode | "both"; keep?: boolean }>();

await sweepLeftovers();
const episodes: Episode[] = [];
const cleanup = new Cleanup();
cleanup.onSignals();
let failed = false;
for (const mode of options.mode === "both" ? MODES : [options.mode]) {
  const progress = new Progress(mode);
  try {
    const episode = await play({ mode, nodes: options.nodes, podsPerNode: options.pods }, cleanup, progress);
    episodes.push(episode);
    if (options.keep === true) await progress.hold(episode.cluster);
  } catch (error) {
    failed = true;
    progress.fail(error);
  } finally {
    progress.step("cleaning up");
    await cleanup.run();
    progress.end();
  }
}
for (const episode of episodes) console.log(`${resultTable(episode)}\n`);
for (const episode of episodes) console.log(resultLine(episode));
process.exit(
  failed || episodes.some(({ first, second }) => first.failures.length + second.failures.length > 0) ? 1 : 0,
);
