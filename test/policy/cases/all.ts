/** All cases of truth tables, and the sample that `npm test` takes. */
import type { Case } from "../case.ts";
import { UPSTREAM } from "../scenarios/upstream.ts";
import { ACTIONS } from "./actions.ts";
import { CLUSTER } from "./cluster.ts";
import { CONFLICTS } from "./conflicts.ts";
import { PEERS } from "./peers.ts";
import { PORTS } from "./ports.ts";
import { EXAMPLES, NAMESPACES, RULES, TARGETS } from "./shapes.ts";

export const CASES: readonly Case[] = [
  ...[...UPSTREAM, ...ACTIONS, ...CONFLICTS, ...EXAMPLES, ...CLUSTER],
  ...[...NAMESPACES, ...RULES, ...TARGETS, ...PEERS, ...PORTS],
];

/** One of this many cases of peers and of ports is in the sample; these groups contain all combinations. */
const EVERY = 12;

/** All cases of the other groups are in the sample. */
export function isSampled({ group }: Case, at: number): boolean {
  return (group !== "peers" && group !== "ports") || at % EVERY === 0;
}
