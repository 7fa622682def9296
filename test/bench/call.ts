/** The measured calls. The two plugins alternate, so that other load on the machine affects both alike. */

export const SIDES = ["weft", "reference"] as const;
export type Side = (typeof SIDES)[number];

export const VERBS = ["ADD", "DEL", "VERSION", "STATUS"] as const;
export type Verb = (typeof VERBS)[number];

export interface Call {
  readonly side: Side;
  readonly verb: Verb;
  readonly containerId: string;
}

/** The result of one call. */
export interface Sample {
  readonly milliseconds: number;
  /** The peak resident memory of the process and of the processes that it waited for. */
  readonly peakKib: number;
}

/** Rounds of all verbs on both sides. The side that is first changes from round to round. */
export function planCalls(rounds: number): Call[] {
  return Array.from({ length: rounds }, (_, round) => {
    const sides = round % 2 === 0 ? SIDES : SIDES.toReversed();
    return VERBS.flatMap((verb) => sides.map((side) => ({ side, verb, containerId: `bench-${round}` })));
  }).flat();
}
