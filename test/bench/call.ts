/** What is measured: calls of two plugins in turn, so that whatever disturbs the machine disturbs both alike. */

export const SIDES = ["weft", "reference"] as const;
export type Side = (typeof SIDES)[number];

export const VERBS = ["ADD", "DEL", "VERSION", "STATUS"] as const;
export type Verb = (typeof VERBS)[number];

export interface Call {
  readonly side: Side;
  readonly verb: Verb;
  readonly containerId: string;
}

/** One call's outcome. */
export interface Sample {
  readonly milliseconds: number;
  /** The most memory resident at once, of the process and of those it waited for. */
  readonly peakKib: number;
}

/** Rounds of all verbs on both sides; the side that comes first changes from round to round. */
export function planCalls(rounds: number): Call[] {
  return Array.from({ length: rounds }, (_, round) => {
    const sides = round % 2 === 0 ? SIDES : SIDES.toReversed();
    return VERBS.flatMap((verb) => sides.map((side) => ({ side, verb, containerId: `bench-${round}` })));
  }).flat();
}
