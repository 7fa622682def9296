/** Rules that differ only in their IP family, for tables of family inet. */
import type { Family } from "../ip/address.ts";
import { matchFamily, type Statement } from "./expressions.ts";
import type { Rule } from "./table.ts";

export const FAMILIES = [4, 6] as const;

/** A rule for packets of one family. Without the family match nft 1.0.6 prints raw offsets instead of addresses. */
export function familyRule(family: Family, comment: string, ...statements: Statement[]): Rule {
  return { comment: `${comment}, IPv${family}`, statements: [matchFamily(family), ...statements] };
}
