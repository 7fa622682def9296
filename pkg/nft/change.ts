/**
 * From what the kernel holds of a table to what it should hold, in one transaction that is as small as it can be: a set of
 * thousands is not sent again for one element.
 */
import type { Message, Request } from "../netlink/message.ts";
import type { SetElement } from "../netlink/nftables.ts";
import { elementKey, hasSameElements, hasSameShape, readTable } from "./comparison.ts";
import { type NftSet, wireElements } from "./set.ts";
import { addElements, deleteFromSet, replaceTable, type Table } from "./table.ts";

/** Nothing where the kernel holds `wanted` already. `held` are the answers to `tableQuestions`. */
export function changeTable(wanted: Table, held: readonly Message[]): Request[] {
  const observed = readTable(wanted, held);
  if (observed === undefined || !hasSameShape(wanted, observed)) return replaceTable(wanted);
  const different = wanted.sets.filter((set) => !hasSameElements(set, observed));
  // The two ends of a range are elements of their own: those sets are small, and seldom change.
  if (different.some(({ kind }) => kind === "prefixes")) return replaceTable(wanted);
  return changeElements(observed.elements, { ...wanted, sets: different });
}

/** From what is held to what `table` says, set by set. Not for sets of prefixes, whose elements come in pairs. */
export function changeElements(held: ReadonlyMap<string, readonly SetElement[]>, table: Table): Request[] {
  const removals = table.sets.flatMap((set) => {
    const wanted = new Set(wireElements(set).map(elementText));
    const gone = (held.get(set.name) ?? []).filter((element) => !wanted.has(elementText(element)));
    return deleteFromSet(table, set.name, gone);
  });
  const additions = table.sets.flatMap((set) => {
    const present = new Set((held.get(set.name) ?? []).map(elementText));
    return addElements(
      table,
      withElements(set, (element) => !present.has(elementText(element))),
    );
  });
  return [...removals, ...additions];
}

/** The set with only those elements that `isWanted` names by their form on the wire. */
function withElements(set: NftSet, isWanted: (element: SetElement) => boolean): NftSet {
  const wanted = wireElements(set).map(isWanted);
  return { ...set, elements: set.elements.filter((_, at) => wanted[at] === true) } as NftSet;
}

/** Equal for elements that lead to the same, whatever else than a comment is kept beside them. */
function elementText(element: SetElement): string {
  return `${elementKey(element)} ${element.userdata ?? ""}`;
}
