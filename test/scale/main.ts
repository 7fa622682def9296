/** `npm run bench -- scale`: one weftd in a cluster of up to 10,000 Nodes. Exits with 1 if a bound is exceeded. */
import { Command, Option } from "commander";
import { type Programming, ScaleBed } from "./bed.ts";
import type { Stack } from "./peers.ts";
import {
  formatLatency,
  formatScale,
  isKept,
  isLatencyKept,
  latencyReport,
  type ScaleReport,
  type SizeReport,
} from "./report.ts";
import type { Rest } from "./weftd-process.ts";

const SIZES = [0, 100, 1000, 5000];
const DUAL_STACK_SIZES = [5000, 10_000];
const ROUNDS = 5;
/** weftd compares everything once a minute. */
const REST_SECONDS = 70;
const CHANGES_PER_SECOND = 1000;
const CHURN_SECONDS = 10;
const RELISTED = 50;
const LATENCY_NODES = 1000;
const LATENCY_STEPS = 200;
// As on a node, where /run is a tmpfs.
process.env.TMPDIR ??= "/dev/shm";

const { only, output } = new Command("bench scale")
  .description(
    "Measures one weftd with 0, 100, 1,000 and 5,000 other Nodes, and with 5,000 and 10,000 Nodes of two families: programming compared with " +
      "ip -batch, memory, CPU, changes.",
  )
  .addOption(new Option("--only <section>", "measure only this section").choices(["latency"]))
  .addOption(new Option("-o, --output <form>", "output format").choices(["table", "json"]).default("table"))
  .parse()
  .opts<{ only?: "latency"; output: "table" | "json" }>();

const latency = await withBed("ipv4", async (bed) => {
  console.error(`scale: latency with ${LATENCY_NODES} Nodes`);
  await bed.populate(LATENCY_NODES);
  await bed.join();
  // V8 compiles code that runs often.
  await bed.latencies(LATENCY_STEPS / 2);
  return latencyReport(LATENCY_NODES, await bed.latencies(LATENCY_STEPS));
});
if (only === "latency") {
  console.log(output === "json" ? JSON.stringify(latency, undefined, 2) : formatLatency(latency));
  process.exitCode = isLatencyKept(latency) ? 0 : 1;
} else {
  await measureAll();
}

async function measureAll(): Promise<void> {
  const single = await withBed("ipv4", async (bed) => {
    const sizes = await measure(bed, SIZES);
    console.error(`scale: ${CHANGES_PER_SECOND} changes a second, then a relist`);
    const churn = await bed.churn(CHANGES_PER_SECOND, CHURN_SECONDS);
    const { removed, ...relist } = await bed.relist(RELISTED);
    return { sizes, churn, relist: { nodes: SIZES.at(-1) ?? 0, ...relist, removed: new Set(removed).size } };
  });
  const dualStack = await withBed("dual", (bed) => measure(bed, DUAL_STACK_SIZES));
  const report: ScaleReport = { rounds: ROUNDS, latency, ...single, dualStack };
  console.log(output === "json" ? JSON.stringify(report, undefined, 2) : formatScale(report));
  process.exitCode = isKept(report) ? 0 : 1;
}

async function withBed<T>(stack: Stack, work: (bed: ScaleBed) => Promise<T>): Promise<T> {
  console.error(`scale: ${stack}`);
  const bed = await ScaleBed.make(stack);
  try {
    return await work(bed);
  } finally {
    await bed.close();
  }
}

async function measure(bed: ScaleBed, counts: readonly number[]): Promise<SizeReport[]> {
  const sizes: SizeReport[] = [];
  for (const nodes of counts) {
    console.error(`scale: ${nodes} Nodes`);
    await bed.populate(nodes);
    const rounds: Programming[] = [];
    for (let round = 0; round < ROUNDS; round++) rounds.push(await bed.program());
    const { peakBytes } = await bed.memory();
    sizes.push(sizeReport(nodes, rounds, peakBytes, await bed.rest(REST_SECONDS)));
  }
  return sizes;
}

function sizeReport(nodes: number, rounds: readonly Programming[], peakBytes: number, rest: Rest): SizeReport {
  const best = (pick: (one: Programming) => number) => Math.min(...rounds.map(pick));
  const [sentMs, batchMs] = [best((one) => one.sentMs), best((one) => one.batchMs)];
  return {
    ...{ nodes, sentMs, batchMs, ratio: sentMs / batchMs, peakBytes, rest },
    ...{ afterListMs: best((one) => one.weftdMs), afterStartMs: best((one) => one.startMs) },
    cpuSeconds: rounds.at(-1)?.use.cpuSeconds ?? Number.NaN,
  };
}
