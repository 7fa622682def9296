/** Runs a case and collects its values. */
import type { Cleanup } from "../live/harness/cleanup.ts";
import { Bed } from "./bed.ts";
import { type BenchCase, planBlocks } from "./case.ts";
import { collect, collectRates, type Series } from "./report.ts";
import { runAtOnce, runInTurn } from "./runner.ts";

/** A round of a case with many pods counts as this many: it takes as long. */
const RUNS_PER_PARALLEL_ROUND = 20;

export interface Amount {
  readonly runs: number;
  readonly warmUp: number;
}

export async function measure(
  benchCase: BenchCase,
  amount: Amount,
  cleanup: Cleanup,
  onProgress: (share: number) => void,
): Promise<{ rounds: number; series: Series[] }> {
  try {
    const bed = await Bed.make(benchCase, cleanup);
    if (benchCase.parallel !== undefined) return await measureAtOnce(bed, benchCase, amount, onProgress);
    const locate = (call: Parameters<Bed["locate"]>[0]) => bed.locate(call);
    await runInTurn(planBlocks(benchCase, amount.warmUp).flat().map(locate));
    const calls = planBlocks(benchCase, amount.runs).flat();
    const samples = await runInTurn(calls.map(locate), (count) => onProgress(count / calls.length));
    return { rounds: amount.runs, series: collect(benchCase, calls, samples) };
  } finally {
    await cleanup.run();
  }
}

/** One round without measurement, then the others. */
async function measureAtOnce(
  bed: Bed,
  benchCase: BenchCase,
  { runs }: Amount,
  onProgress: (share: number) => void,
): Promise<{ rounds: number; series: Series[] }> {
  const rounds = Math.ceil(runs / RUNS_PER_PARALLEL_ROUND);
  const { pods = 1, atOnce = 1 } = benchCase.parallel ?? {};
  const rates: { side: string; row: string; perSecond: number }[] = [];
  const blocks = planBlocks(benchCase, rounds + 1);
  for (const [at, block] of blocks.entries()) {
    const [first] = block;
    if (first === undefined) continue;
    const seconds = await runAtOnce(
      block.map((call) => bed.locate(call)),
      atOnce,
    );
    onProgress((at + 1) / blocks.length);
    if (first.round > 0) rates.push({ side: first.side.name, row: first.measure.row ?? "", perSecond: pods / seconds });
  }
  return { rounds, series: collectRates(benchCase, rates) };
}
