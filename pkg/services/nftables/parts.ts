/**
 * The chains that exist once per number, not per Service: how many endpoints a list has, how long affinity lasts. They are
 * made when the first frontend needs them, and stay.
 */
import type { Family } from "../../ip/address.ts";

/** Of endpoints: all that a frontend leads to, or, for frontends of policy `local`, those on this node. */
export const LISTS = ["", "local-"] as const;
export type List = (typeof LISTS)[number];

/**
 * - `pick`: one of `number` endpoints of a list, drawn at random.
 * - `remember`: a client's endpoint is kept for `number` seconds. The same for both lists.
 */
export interface Part {
  readonly kind: "pick" | "remember";
  readonly list: List;
  readonly family: Family;
  readonly number: number;
}

/** "local-pick4-3": the name of the part's chain. */
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

/** True where one of `parts` is of affinity, for this family. */
export function hasAffinity(parts: Iterable<Part>, family: Family): boolean {
  for (const part of parts) if (part.kind === "remember" && part.family === family) return true;
  return false;
}
