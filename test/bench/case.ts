/** What a benchmark case consists of, and the order of its calls. */

/** Whose executables are measured. */
export const PROGRAMS = ["reference", "floor", "weft"] as const;
export type Program = (typeof PROGRAMS)[number];

export type Verb = "ADD" | "DEL" | "VERSION" | "STATUS";

/** One column of a case: executables and the node on which they run. The sides of a case take turns. */
export interface Side {
  readonly name: string;
  readonly program: Program;
  /** Where this side is among all: its bridge and subnet differ from those of other sides. */
  readonly index: number;
  /** Loads the node before the calls. */
  readonly load?: Load;
}

/** What is on a node before the calls. */
export interface Load {
  readonly reservations: number;
  readonly hostPorts?: number;
  readonly foreignChains?: number;
}

/** One call of a plugin. */
export interface Step {
  readonly plugin: string;
  readonly verb: Verb;
  /** True if the configuration gets the result of the previous plugin, or on DEL that of the ADD. */
  readonly hasPrevious: boolean;
  /** True if the call's result is kept as the previous result. */
  readonly keepsResult: boolean;
}

/** Calls whose times are added: one row of the table. Rows of a case run in order. */
export interface Measure {
  /** undefined: the calls are necessary, but are not measured. */
  readonly row: string | undefined;
  readonly steps: readonly Step[];
}

/** A limit of the ratio between the last side and the side of this name. */
export interface Bound {
  readonly over: string;
  /** The largest allowed ratio of times, or the smallest allowed ratio of rates. */
  readonly limit: number;
}

export interface BenchCase {
  readonly name: string;
  readonly title: string;
  readonly note: string;
  /** The last side is compared with each of the others. */
  readonly sides: readonly Side[];
  readonly measures: readonly Measure[];
  /** The configuration of a plugin on a side. */
  readonly configure: (plugin: string, side: Side, dataDir: string) => object;
  /** By row. */
  readonly bounds: Readonly<Record<string, readonly Bound[]>>;
  /** If set, each round has many ADDs, then as many DELs, with some of them running at the same time. */
  readonly parallel?: { readonly calls: number; readonly atOnce: number };
}

/** A step at its place in the plan. */
export interface Call {
  readonly side: Side;
  readonly measure: Measure;
  readonly step: Step;
  readonly round: number;
}

/** The result of one call. */
export interface Sample {
  readonly milliseconds: number;
  /** The peak resident memory of the process and of the processes that it waited for. */
  readonly peakKib: number;
}

/**
 * Rounds of all measures on all sides. Sides take turns within each measure, so that other load on the machine affects
 * all alike. The side that is first changes from round to round.
 */
export function planCalls({ sides, measures }: Pick<BenchCase, "sides" | "measures">, rounds: number): Call[] {
  return Array.from({ length: rounds }, (_, round) =>
    measures.flatMap((measure) =>
      rotate(sides, round).flatMap((side) => measure.steps.map((step) => ({ side, measure, step, round }))),
    ),
  ).flat();
}

/** The list from its element `by` on, then those before. */
export function rotate<T>(list: readonly T[], by: number): T[] {
  return list.map((_, at) => list[(at + by) % list.length] as T);
}
