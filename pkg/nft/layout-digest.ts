/** For tests: the digest of a table's layout. The executables contain only its result (`Table.stamp`). */
import { replaceTable, type Table } from "./table.ts";

/**
 * A digest (32-bit FNV-1a) of everything in the table except elements: chains, rules and sets, in the order of their
 * creation. It changes with each change of the layout.
 */
export function layoutDigest({ stamp: _, ...table }: Table): number {
  const empty = { ...table, sets: table.sets.map((set) => ({ ...set, elements: [] })) };
  let digest = 0x811c_9dc5;
  for (const { body } of replaceTable(empty)) {
    for (const byte of body) digest = Math.imul(digest ^ byte, 0x0100_0193);
  }
  return digest >>> 0;
}
