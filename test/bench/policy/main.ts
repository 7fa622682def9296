/** `npm run bench -- policy`: measures NetworkPolicies on a real kernel. Exits with 1 if a bound is exceeded. */
import { loadavg } from "node:os";
import { Command, InvalidArgumentError, Option } from "commander";
import { Cleanup } from "../../live/harness/cleanup.ts";
import { makeNamespace } from "../../live/harness/namespace.ts";
import { timeAdds } from "./adds.ts";
import { type Attach, PathsBed } from "./bed.ts";
import type { Programmed } from "./child.ts";
import { NodeChild } from "./node-child.ts";
import type { PopulationSize } from "./population.ts";
import { boundsOf, formatPolicies, type Path, type PolicyReport, summary } from "./report.ts";

interface Options extends PopulationSize {
  readonly relabels: number;
  readonly connections: number;
  readonly streams: number;
  readonly adds: number;
  readonly attach: Attach;
  readonly realtime: boolean;
  readonly output: "table" | "json";
}

/** The number of cold starts. */
const ROUNDS = 3;
const STREAM_MS = 250;
/** Connections before those that count. */
const WARM_UP = 200;
const NO_CLUSTER: PopulationSize = { policies: 0, pods: 0, local: 0 };

const option = (flags: string, about: string, value: number) =>
  new Option(flags, about).default(value).argParser((text: string) => {
    const number = Number(text);
    if (Number.isInteger(number) && number >= 1 && number <= 100_000) return number;
    throw new InvalidArgumentError("expected a whole number from 1 to 100000.");
  });

const options = new Command("bench policy")
  .description(
    "Measures NetworkPolicies in network namespaces: compiling and programming, one pod's change of labels, new " +
      "connections and streams between isolated pods, and ADD of a pod. Needs root and gcc.",
  )
  .addOption(option("--policies <n>", "number of policies", 1000))
  .addOption(option("--pods <n>", "number of pods of the cluster", 10_000))
  .addOption(option("--local <n>", "number of these pods on the measured node", 110))
  .addOption(option("--relabels <n>", "number of changes of one pod's labels", 2000))
  .addOption(option("--connections <n>", "number of connections through each node", 10_000))
  .addOption(option("--streams <n>", "number of streams through each node, a quarter of a second each", 60))
  .addOption(option("--adds <n>", "number of ADDs of each kind", 100))
  .addOption(
    new Option("--attach <kind>", "how the pods of connections attach").choices(["bridge", "ptp"]).default("bridge"),
  )
  .addOption(new Option("--realtime", "run client and server at real-time priority, for a busy machine").default(false))
  .addOption(new Option("-o, --output <form>", "output format").choices(["table", "json"]).default("table"))
  .parse()
  .opts<Options>();

const report = await measure(options);
const bounds = boundsOf(report);
const json = JSON.stringify({ ...summary(report), bounds }, undefined, 2);
console.log(options.output === "json" ? json : formatPolicies(report));
process.exitCode = bounds.every(({ isKept }) => isKept) ? 0 : 1;

function say(text: string): void {
  console.error(`policy: ${text}`);
}

async function measure({ policies, pods, local, ...counts }: Options): Promise<PolicyReport> {
  const size = { policies, pods, local };
  const before = loadavg()[0] ?? Number.NaN;
  say(`${policies} policies and ${pods} pods`);
  const programmed = await program(size, counts.relabels);
  say(`${counts.adds} ADDs of each kind`);
  const adds = await timeAdds(size, counts.adds);
  const paths = await measurePaths(size, counts);
  return { size, ...programmed, adds, paths, load: { before, after: loadavg()[0] ?? Number.NaN } };
}

async function program(size: PopulationSize, count: number) {
  const cleanup = new Cleanup();
  try {
    const { path } = await makeNamespace("bench-node", cleanup);
    const child = new NodeChild(path, cleanup);
    const rounds: Programmed[] = [];
    for (let round = 0; round < ROUNDS; round++) rounds.push(await child.carryOut({ do: "cold", size }));
    // The first counts: weftd starts once, with code that V8 has not optimized.
    const [cold] = rounds;
    if (cold === undefined) throw new RangeError("no rounds");
    const any = await child.carryOut({ do: "relabel", count, pods: "any" });
    const localPods = await child.carryOut({ do: "relabel", count, pods: "local" });
    // After the changes: an error of theirs would need repair.
    const restart = await child.carryOut({ do: "restart" });
    return { cold, restart, relabels: { any, local: localPods } };
  } finally {
    await cleanup.run();
  }
}

async function measurePaths(
  size: PopulationSize,
  counts: Pick<Options, "connections" | "streams" | "attach" | "realtime">,
): Promise<Path[]> {
  const { policies } = size;
  const names = ["none", "1 policy", `${policies} policies`, `${policies} policies that select the pods`];
  const bed = await PathsBed.make(names.length, counts.attach, counts.realtime);
  try {
    await bed.isolate(1, NO_CLUSTER, 1);
    await bed.isolate(2, size, 1);
    await bed.isolate(3, NO_CLUSTER, policies);
    say(`${counts.connections} connections through each node`);
    await bed.connect(WARM_UP);
    const connectUs = await bed.connect(counts.connections);
    say(`${counts.streams} streams through each node`);
    const rates: number[][] = names.map(() => []);
    for (let round = 0; round < counts.streams; round++) {
      const order = names.map((_, number) => number);
      for (const number of round % 2 === 0 ? order : order.toReversed()) {
        rates[number]?.push(await bed.pour(number, STREAM_MS));
      }
    }
    return names.map((name, at) => ({ name, connectUs: connectUs[at] ?? [], bitsPerSecond: rates[at] ?? [] }));
  } finally {
    await bed.close();
  }
}
