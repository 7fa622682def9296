import type { Outcome } from "../outcome.ts";
import type { Side } from "./side.ts";

/** A sequence of transactions and dumps, and its outcome. */
export interface Case {
  readonly run: (side: Side) => Promise<Outcome>;
  readonly expected: Outcome;
}

export type Cases = Readonly<Record<string, Case>>;
