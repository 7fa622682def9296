/** The interface of doctor's checks. */
import type { Finding } from "../../pkg/backend/inspection.ts";
import type { Facts } from "./facts.ts";

export const CHECK_GROUPS = [
  "kernel",
  "weftd",
  "data path",
  "firewall",
  "services",
  "policies",
  "runtime",
  "addresses",
  "other programs",
] as const;
export type CheckGroup = (typeof CHECK_GROUPS)[number];

/** Turns facts into findings. Does not access the node. */
export interface Check {
  readonly name: string;
  readonly group: CheckGroup;
  /** The description for `--list`. */
  readonly about: string;
  readonly judge: (facts: Facts) => readonly Finding[];
}
