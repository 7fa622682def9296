import type { Outcome } from "../outcome.ts";
import type { Side } from "./side.ts";

/** What a program does to nf_tables, and what it then sees. */
export interface Case {
  readonly run: (side: Side) => Promise<Outcome>;
  readonly expected: Outcome;
}

export type Cases = Readonly<Record<string, Case>>;
