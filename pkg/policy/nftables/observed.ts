/** Reads `table inet weft-policy` from the kernel, for comparisons only. */
import type { Look } from "../../netlink/look.ts";
import { elementDumps, type ObservedTable, readTable, tableQuestions } from "../../nft/comparison.ts";
import { type Bytes, type ElementForm, eachElement } from "../../nft/element-bytes.ts";
import type { Table } from "../../nft/table.ts";

/** Elements by the name of their set: keys with data. */
export type ElementState = Map<string, Map<Bytes, Bytes>>;

/**
 * Reads the shape of the table, and the elements of the sets that `wanted` has with elements: all but `changing`.
 * Undefined if the table does not exist.
 */
export function* lookAtPolicies(wanted: Table, changing: ReadonlySet<string>): Look<ObservedTable | undefined> {
  return readTable(wanted, yield tableQuestions(wanted, ({ name }) => !changing.has(name)));
}

/** Reads all elements of the given sets. */
export function* lookAtElements(wanted: Table, forms: readonly ElementForm[]): Look<ElementState> {
  const state: ElementState = new Map(forms.map(({ name }) => [name, new Map()]));
  const names = new Set(state.keys());
  const seen = yield elementDumps({ ...wanted, sets: wanted.sets.filter(({ name }) => names.has(name)) });
  eachElement(wanted, seen, (set, key, data) => state.get(set)?.set(key, data));
  return state;
}
