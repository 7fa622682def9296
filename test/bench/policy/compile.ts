/**
 * Measures the compiler of policies, without a kernel: `node test/bench/policy/compile.ts` prints the figures for 1,000
 * policies and 10,000 pods. With `--expose-gc`, memory is that of live objects.
 */
import { performance } from "node:perf_hooks";
import { pathToFileURL } from "node:url";
import { PolicyMap } from "../../../pkg/policy/policy-map.ts";
import { NODE, type PopulationSize, populate } from "./population.ts";

export interface CompileFigures {
  /** Time to parse and add all objects, in milliseconds. */
  readonly addMs: number;
  /** Time to compile the tables from nothing, in milliseconds. */
  readonly compileMs: number;
  /** Time from a changed pod to the changes of tables, in milliseconds. */
  readonly relabelMs: { readonly p50: number; readonly p99: number; readonly max: number };
  /** Entries that one changed pod changes, on average. */
  readonly relabelChanges: number;
  /** The growth of the heap, in MiB, for all objects and tables of the compiler. */
  readonly heapMib: number;
  readonly changes: Readonly<Record<string, number>>;
  readonly identities: number;
  readonly profiles: number;
}

const RELABELS = 1000;

export function compileCluster(size: PopulationSize): CompileFigures {
  const population = populate(size);
  const heapBefore = heapMib();
  const map = new PolicyMap(NODE);
  const addMs = timed(() => population.fill(map));
  const counts: Record<string, number> = {};
  const compileMs = timed(() => {
    for (const { kind } of map.changes()) counts[kind] = (counts[kind] ?? 0) + 1;
  });
  const heapAfter = heapMib();
  let entries = 0;
  const times = Array.from({ length: RELABELS }, (_, round) => {
    const pod = (round * 7919) % size.pods;
    population.relabel(map, pod, round % 2 === 0 ? "db" : "api");
    return timed(() => {
      entries += map.changes().length;
    });
  }).sort((a, b) => a - b);
  const { identities, profiles } = map.counts();
  return {
    ...{ addMs, compileMs, relabelChanges: entries / RELABELS },
    relabelMs: { p50: at(times, 0.5), p99: at(times, 0.99), max: at(times, 1) },
    ...{ heapMib: heapAfter - heapBefore, changes: counts, identities, profiles },
  };
}

const at = (sorted: readonly number[], share: number) =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;

function timed(run: () => void): number {
  const start = performance.now();
  run();
  return performance.now() - start;
}

function heapMib(): number {
  globalThis.gc?.();
  return process.memoryUsage().heapUsed / 2 ** 20;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const [policies = 1000, pods = 10_000, local = 110] = process.argv.slice(2).map(Number);
  console.log(JSON.stringify(compileCluster({ policies, pods, local }), null, 1));
}
