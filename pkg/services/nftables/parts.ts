/**
 * The chains that exist once for each number instead of each Service: the number of endpoints in a list, and the
 * affinity timeout. A chain is added when the first frontend needs it, and stays.
 */
import type { Family } from "../../ip/address.ts";

/** The lists of endpoints: all of a frontend's or, for frontends of policy `local`, those on this node. */
export const LISTS = ["", "local-"] as const;
export type List = (typeof LISTS)[number];

/**
 * - `pick`: chooses one of `number` endpoints of a list at random.
 * - `remember`: keeps a client's endpoint for `number` seconds. The same chain serves both lists.
 */
export interface Part {
  readonly kind: "pick" | "remember";
  readonly list: List;
  readonly family: Family;
  readonly number: number;
}

/** The name of the part's chain: "local-pick4-3". */
export function partName({ kind, list, family, number }: Part): string {
  return `${list}${kind}${family}-${number}`;
}

const PART = /^(local-)?(pick|remember)([46])-([1-9]\d{0,8})$/;

/** The part whose chain has this name; `undefined` for names of other chains. */
export function parsePart(name: string): Part | undefined {
  const [, list, kind, family, number] = PART.exec(name) ?? [];
  if (kind === undefined || (kind === "remember" && list !== undefined)) return undefined;
  return {
    kind: kind as Part["kind"],
    list: list === undefined ? "" : "local-",
    family: family === "4" ? 4 : 6,
    number: Number(number),
  };
}

/** True if one of `parts` is for affinity in this family. */
export function hasAffinity(parts: Iterable<Part>, family: Family): boolean {
  for (const part of parts) if (part.kind === "remember" && part.family === family) return true;
  return false;
}
