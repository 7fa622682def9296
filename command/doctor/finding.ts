/** What doctor finds, and what a check is. */
import type { Facts } from "./facts.ts";

/** What breaks pods' traffic, or will; what should be mended some day; what is good to know. */
export type Severity = "error" | "warning" | "note";

export interface Finding {
  readonly severity: Severity;
  /** One sentence: what was seen, with names and values. */
  readonly seen: string;
  /** One sentence: what comes of it. */
  readonly why: string;
  /** A command that mends it, as root on this node; undefined where there is none, and `advice` says what to do. */
  readonly run?: string | undefined;
  readonly advice?: string | undefined;
}

export const CHECK_GROUPS = [
  "kernel",
  "weftd",
  "data path",
  "firewall",
  "runtime",
  "addresses",
  "other programs",
] as const;
export type CheckGroup = (typeof CHECK_GROUPS)[number];

/** From facts to findings: nothing is asked of the node here. */
export interface Check {
  readonly name: string;
  readonly group: CheckGroup;
  /** What it looks at, for `--list`. */
  readonly about: string;
  readonly judge: (facts: Facts) => readonly Finding[];
}
