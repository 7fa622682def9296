/** What a benchmark case consists of, and the order of its calls. */

/** The origins of the executables. */
export const PROGRAMS = ["reference", "floor", "weft"] as const;
export type Program = (typeof PROGRAMS)[number];

export type Verb = "ADD" | "DEL" | "VERSION" | "STATUS";

/** One column of a case: executables and the node on which they run. The sides of a case take turns. */
export interface Side {
  readonly name: string;
  readonly program: Program;
  /** Where this side is among all. The subnets of sides differ. */
  readonly index: number;
  readonly load: Load;
}

/** What is on a node before the calls. */
export interface Load {
  /** Addresses of the calls' network. */
  readonly reservations: number;
  /** Ports that weft's portmap has mapped. */
  readonly hostPorts: number;
  /** nftables chains of another program. */
  readonly foreignChains: number;
}

/** One call of a plugin. */
export interface Step {
  readonly plugin: string;
  readonly verb: Verb;
  /** True if the configuration gets the kept result as prevResult. */
  readonly hasPrevious: boolean;
  /** True if the call's result is kept. */
  readonly keepsResult: boolean;
}

/** Calls whose times are added: one row of the table, or unmeasured calls if `row` is undefined. */
export interface Measure {
  readonly row: string | undefined;
  readonly steps: readonly Step[];
}

/**
 * A bound of the ratio between the last side and the side named `over`: the largest ratio of times, or the smallest ratio
 * of calls per second.
 */
export interface Bound {
  readonly over: string;
  readonly limit: number;
}

export interface BenchCase {
  readonly name: string;
  readonly title: string;
  readonly note: string;
  /** The last side is compared with each of the others. */
  readonly sides: readonly Side[];
  /** In the order of the calls. */
  readonly measures: readonly Measure[];
  /** The configuration of a plugin, the same on all sides except for what they must not share. */
  readonly configure: (plugin: string, side: Side, dataDir: string) => object;
  /** By row. */
  readonly bounds: Readonly<Record<string, readonly Bound[]>>;
  /** Each measure runs for this many pods, for `atOnce` of them at the same time. Without it, there is one pod. */
  readonly parallel?: { readonly pods: number; readonly atOnce: number };
}

/** A step at its place in the plan. */
export interface Call {
  readonly side: Side;
  readonly measure: Measure;
  readonly step: Step;
  /** The container's name is different in each round. */
  readonly round: number;
  readonly pod: number;
}

/** The result of one call. */
export interface Sample {
  readonly milliseconds: number;
  /** The peak resident memory of the process and of the processes that it waited for. */
  readonly peakKib: number;
  /** Their processor time, in user mode and in the kernel. */
  readonly cpuMilliseconds: number;
}

/**
 * Rounds of all measures on all sides, each with the calls of all pods. Sides take turns within each measure, so that
 * other load on the machine affects all alike. The side that is first changes from round to round.
 */
export function planBlocks({ sides, measures, parallel }: BenchCase, rounds: number): Call[][] {
  const pods = Array.from({ length: parallel?.pods ?? 1 }, (_, pod) => pod);
  return Array.from({ length: rounds }, (_, round) =>
    measures.flatMap((measure) =>
      rotate(sides, round).map((side) =>
        pods.flatMap((pod) => measure.steps.map((step) => ({ side, measure, step, round, pod }))),
      ),
    ),
  ).flat();
}

/** The list that begins with element `by`, counted from the start again after the end. */
export function rotate<T>(list: readonly T[], by: number): T[] {
  const at = by % list.length;
  return [...list.slice(at), ...list.slice(0, at)];
}
