/** What the rules of both families share. */
import type { Family } from "../../ip/address.ts";
import { matchFamily, type Statement } from "../../nft/expressions.ts";
import { address, destinationPort, transportProtocol } from "../../nft/selector.ts";
import type { Rule } from "../../nft/table.ts";

export const FAMILIES = [4, 6] as const;

/** The key of the maps of frontends. */
export const row = (family: Family) => [address("daddr", family), transportProtocol, destinationPort];

/** A rule for packets of one family. Without the family match nft 1.0.6 prints raw offsets instead of addresses. */
export function familyRule(family: Family, comment: string, ...statements: Statement[]): Rule {
  return { comment: `${comment}, IPv${family}`, statements: [matchFamily(family), ...statements] };
}
