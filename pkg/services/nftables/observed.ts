/** Reads `table inet weft-services` from the kernel, for the comparison only. */
import type { Look } from "../../netlink/look.ts";
import type { Message } from "../../netlink/message.ts";
import { chainQuestion, elementDumps, type ObservedTable, readTable, tableQuestions } from "../../nft/comparison.ts";
import { eachElement } from "../../nft/element-bytes.ts";
import { readRules } from "../../nft/ruleset.ts";
import { readTuple, type TupleSet } from "../../nft/set.ts";
import type { Table } from "../../nft/table.ts";
import type { Bytes } from "./bytes.ts";
import type { ElementId } from "./emission.ts";
import { type Part, parsePart } from "./parts.ts";
import { ELEMENT_SETS, FRONTEND_SETS, verdictSets } from "./sets.ts";

export interface ObservedServices {
  readonly table: ObservedTable;
  readonly parts: readonly Part[];
}

const ELEMENT_SET_NAMES: ReadonlySet<string> = new Set(ELEMENT_SETS.map(({ name }) => name));

/**
 * Reads the table without frontends' elements: its shape, settings and parts. `tableOf` makes the wanted table with
 * given parts.
 */
export function* lookAtServices(tableOf: (parts: readonly Part[]) => Table): Look<ObservedServices | undefined> {
  const bare = tableOf([]);
  const seen = yield tableQuestions(bare, ({ name }) => !ELEMENT_SET_NAMES.has(name));
  const first = readTable(bare, seen);
  if (first === undefined) return undefined;
  const parts = observedParts(first, seen);
  if (parts.length === 0) return { table: first, parts };
  const asked = new Set(bare.chains.map(({ name }) => name));
  const more = tableOf(parts).chains.filter(({ name }) => !asked.has(name));
  const all = [...seen, ...(yield more.map(({ name }) => chainQuestion(bare, name)))];
  const table = readTable(bare, all);
  return table === undefined ? undefined : { table, parts };
}

/** The parts whose chains have rules or are targets of elements. */
function observedParts({ elements }: ObservedTable, seen: readonly Message[]): Part[] {
  const targets = verdictSets([]).flatMap((set) =>
    (elements.get(set.name) ?? []).flatMap((element) => target(set, element)),
  );
  const names = new Set([...readRules(seen).map(({ chain }) => chain), ...targets]);
  return [...names].sort().flatMap((name) => parsePart(name) ?? []);
}

function target(set: TupleSet, element: Parameters<typeof readTuple>[1]): string[] {
  const data = readTuple(set, element)?.data ?? [];
  if ("goto" in data) return [data.goto];
  return "jump" in data ? [data.jump] : [];
}

/** Reads all elements of frontends in the sets that `isWanted` selects. */
export function* lookAtElements(
  bare: Table,
  isWanted: (set: string) => boolean = () => true,
): Look<Map<ElementId, Bytes>> {
  const seen = yield elementDumps({ ...bare, sets: FRONTEND_SETS.filter(({ name }) => isWanted(name)) });
  const tags = new Map(FRONTEND_SETS.map(({ name }, at) => [name, String.fromCharCode(at)]));
  const held = new Map<ElementId, Bytes>();
  eachElement(bare, seen, (set, key, data) => {
    const tag = tags.get(set);
    if (tag !== undefined) held.set(tag + key, data);
  });
  return held;
}
