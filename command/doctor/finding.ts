/** What a check of doctor is. */
import type { Finding } from "../../pkg/backend/inspection.ts";
import type { Facts } from "./facts.ts";

export const CHECK_GROUPS = [
  "kernel",
  "weftd",
  "data path",
  "firewall",
  "services",
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
