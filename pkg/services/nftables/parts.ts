/**
 * The chains that exist once per number, not per Service: how many endpoints a list has, how long affinity lasts. They are
 * made when the first frontend needs them, and stay.
 */
import type { Family } from "../../ip/address.ts";

/** Of endpoints: all that a frontend leads to, or, for frontends of policy `local`, those on this node. */
export const LISTS = ["", "local-"] as const;
export type List = (typeof LISTS)[number];

/**
 * - `pick`: one of `number` endpoints, drawn at random.
 * - `sticky`: the endpoint that the client had within the last `number` seconds, else one drawn at random.
 * - `draw`: keeps one of `number` endpoints for a client.
 */
export interface Part {
  readonly kind: "pick" | "sticky" | "draw";
  readonly list: List;
  readonly family: Family;
  readonly number: number;
}

/** "local-pick4-3": the name of the part's chain. */
export function partName({ kind, list, family, number }: Part): string {
  return `${list}${kind}${family}-${number}`;
}

const PART = /^(local-)?(pick|sticky|draw)([46])-([1-9]\d*)$/;

/** The part whose chain has this name; `undefined` for names of other chains. */
export function parsePart(name: string): Part | undefined {
  const [, list, kind, family, number] = PART.exec(name) ?? [];
  if (kind === undefined) return undefined;
  return {
    kind: kind as Part["kind"],
    list: list === undefined ? "" : "local-",
    family: family === "4" ? 4 : 6,
    number: Number(number),
  };
}

/** The bit that tells a timeout from a number of endpoints, and tokens of endpoints from those of Services. */
export const HIGH_BIT = 0x8000_0000;

/** What leads to a part in the map `picks` or `draws`. */
export function partKey({ kind, number }: Part): number {
  return kind === "sticky" ? (number | HIGH_BIT) >>> 0 : number;
}
