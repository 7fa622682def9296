/**
 * Changes an existing table to the wanted one in one transaction that is as small as possible: a change of one element
 * does not send a set of thousands again.
 */
import type { Message, Request } from "../netlink/message.ts";
import type { SetElement } from "../netlink/nftables.ts";
import { elementKey, hasSameElements, hasSameShape, readTable } from "./comparison.ts";
import { type NftSet, wireElements } from "./set.ts";
import { addElements, deleteFromSet, replaceTable, type Table } from "./table.ts";

/** Returns no requests if the kernel already has `wanted`. `held` are the answers to `tableQuestions`. */
export function changeTable(wanted: Table, held: readonly Message[]): Request[] {
  const observed = readTable(wanted, held);
  if (observed === undefined || !hasSameShape(wanted, observed)) return replaceTable(wanted);
  const different = wanted.sets.filter((set) => !hasSameElements(set, observed));
  // A prefix set stores the start and the end of each range as separate elements. Such sets are small and rarely
  // change, so they are replaced.
  if (different.some(({ kind }) => kind === "prefixes")) return replaceTable(wanted);
  return changeElements(observed.elements, { ...wanted, sets: different });
}

/**
 * Plans the changes from the elements in the kernel to those of `table`, set by set. Not for prefix sets, whose
 * elements come in pairs.
 */
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

/** Returns the set with only the elements whose wire form passes `isWanted`. */
function withElements(set: NftSet, isWanted: (element: SetElement) => boolean): NftSet {
  const wanted = wireElements(set).map(isWanted);
  return { ...set, elements: set.elements.filter((_, at) => wanted[at] === true) } as NftSet;
}

/**
 * Equal for elements with the same key, data and user data. User data may contain more than the comment that
 * `elementKey` compares.
 */
function elementText(element: SetElement): string {
  return `${elementKey(element)} ${element.userdata ?? ""}`;
}
