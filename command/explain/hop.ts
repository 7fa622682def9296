/** A step on a packet's way, as it is told. */

/** `ends`: the packet goes no further, and should; `astray`: it goes where it should not; `note`: it cannot be told. */
export type HopState = "goes" | "arrives" | "ends" | "astray" | "note";

export interface Hop {
  /** A word for where it is: "route", "neighbour", "forward". */
  readonly at: string;
  readonly state: HopState;
  readonly text: string;
  /** A command that shows it. */
  readonly show?: string | undefined;
  /** What would mend it. */
  readonly remedy?: string | undefined;
}
