/**
 * The nftables mode: the first packet of a connection passes the table (`layout.ts`), and connection tracking
 * translates the rest. The mode stores frontends and the order of their endpoints, but no elements; each comparison
 * emits them again.
 */
import type { Look } from "../../netlink/look.ts";
import type { Request } from "../../netlink/message.ts";
import { changeElements } from "../../nft/change.ts";
import {
  hasSameElements,
  type ObservedTable,
  type Reusable,
  reusableParts,
  shapeDifference,
} from "../../nft/comparison.ts";
import { numberBytes } from "../../nft/key-bytes.ts";
import {
  addElements,
  flushSet,
  rebuildTable,
  removeTable,
  replaceRules,
  replaceTable,
  type Table,
} from "../../nft/table.ts";
import { type Frontend, type FrontendChange, frontendKey, type NodeSettings } from "../frontend.ts";
import type { ServiceMode, Transaction } from "../mode.ts";
import { type Bytes, endpointBytes } from "./bytes.ts";
import {
  allowedSourcesStart,
  type ElementId,
  emitElements,
  emitShared,
  gateIds,
  isRefusing,
  type Placed,
  slotsId,
  sourcesStart,
} from "./emission.ts";
import { addParts, partElements, servicesTable } from "./layout.ts";
import { lookAtElements, lookAtServices, type ObservedServices } from "./observed.ts";
import { LISTS, type List, type Part, partName } from "./parts.ts";
import { ELEMENT_SETS } from "./sets.ts";
import { arrangeSlots, type Slots } from "./slots.ts";
import { ElementChanges, Packer } from "./transactions.ts";

/** Chains of parts and elements do not depend on the node's settings. */
const NO_SETTINGS: NodeSettings = { localPods: [], serviceRanges: [], masqueradeAll: false, masqueradeBit: 0 };

export class NftablesMode implements ServiceMode {
  #table: Table = servicesTable(NO_SETTINGS, []);
  readonly #placed = new Map<string, Placed>();
  /** The number of frontends for each shared element. */
  readonly #shared = new Map<ElementId, number>();
  /** By the name of the part's chain. */
  readonly #parts = new Map<string, Part>();

  *compare(frontends: Iterable<Frontend>, settings: NodeSettings): Look<readonly Transaction[]> {
    this.#forget();
    this.#table = servicesTable(settings, []);
    const observed = yield* lookAtServices((parts) => servicesTable(settings, parts));
    for (const part of observed?.parts ?? []) this.#parts.set(partName(part), part);
    const shape = servicesTable(settings, [...this.#parts.values()]);
    const difference = observed === undefined ? "table" : shapeDifference(shape, observed.table);
    // Read the elements before arranging slots: the kernel's order is kept. Equal parts of a table with another shape
    // stay.
    const reusable =
      difference === "table" && observed !== undefined ? reusableParts(shape, observed.table) : undefined;
    const isReplaced = difference === "table" && reusable === undefined;
    const isKept = (set: string) => difference !== "table" || reusable?.sets.has(set) === true;
    const held = isReplaced ? new Map<ElementId, Bytes>() : yield* lookAtElements(this.#table, isKept);
    if (isReplaced) this.#parts.clear();
    for (const frontend of frontends) this.#place(frontend, (list) => heldSlots(held, frontend, list));
    const first =
      difference === "table" ? this.#rebuild(observed?.table, reusable, settings) : this.#repairs(observed, settings);
    const packer = new Packer(this.#table, first);
    this.#compareElements(held, packer);
    return packer.finish();
  }

  change(changes: readonly FrontendChange[]): readonly Transaction[] {
    const known = new Map(this.#parts);
    const [shared, units] = [new Map<ElementId, number>(), [] as ElementChanges[]];
    for (const [key, after] of lastOfEach(changes)) {
      const before = this.#remove(key, shared);
      if (after !== undefined) this.#place(after, (list) => before?.slots[list].map(endpointBytes) ?? [], shared);
      units.push(changesBetween(before, this.#placed.get(key)));
    }
    const added = [...this.#parts.values()].filter((part) => !known.has(partName(part)));
    const packer = new Packer(this.#table, [
      ...addParts(this.#table, added, [...known.values()]),
      ...partElements(this.#table, added),
    ]);
    const [early, late] = [new ElementChanges(), new ElementChanges()];
    for (const [id, count] of shared) {
      const now = this.#shared.get(id) ?? 0;
      if (now > 0 && now - count <= 0) (isRefusing(id) ? late : early).add(id, "");
      if (now === 0 && count < 0) late.remove(id);
    }
    packer.takeEach(early);
    for (const unit of units) packer.take(unit);
    packer.takeEach(late);
    return packer.finish();
  }

  removal(): Transaction {
    this.#forget();
    return removeTable(this.#table);
  }

  #forget(): void {
    this.#placed.clear();
    this.#shared.clear();
    this.#parts.clear();
  }

  /** `held` returns the kernel's order of the endpoints. `counted` collects how often each shared element was added. */
  #place(frontend: Frontend, held: (list: List) => readonly Bytes[], counted?: Map<ElementId, number>): void {
    const slots: Record<List, Slots> = {
      "": arrangeSlots(held(""), frontend.endpoints),
      "local-": arrangeSlots(held("local-"), frontend.localEndpoints),
    };
    const placed = { frontend, slots };
    this.#placed.set(frontendKey(frontend), placed);
    emitShared(placed, (id) => {
      this.#shared.set(id, (this.#shared.get(id) ?? 0) + 1);
      counted?.set(id, (counted.get(id) ?? 0) + 1);
    });
    for (const part of partsOf(placed)) this.#parts.set(partName(part), part);
  }

  #remove(key: string, counted: Map<ElementId, number>): Placed | undefined {
    const placed = this.#placed.get(key);
    if (placed === undefined) return undefined;
    this.#placed.delete(key);
    emitShared(placed, (id) => {
      const left = (this.#shared.get(id) ?? 0) - 1;
      if (left > 0) this.#shared.set(id, left);
      else this.#shared.delete(id);
      counted.set(id, (counted.get(id) ?? 0) - 1);
    });
    return placed;
  }

  /** Replaces the table, keeping the reusable parts. */
  #rebuild(observed: ObservedTable | undefined, reusable: Reusable | undefined, settings: NodeSettings): Request[] {
    const table = servicesTable(settings, [...this.#parts.values()]);
    if (observed === undefined || reusable === undefined) return replaceTable(table);
    const { chains, sets } = reusable;
    const elements = new Set(ELEMENT_SETS.map(({ name }) => name));
    const others = table.sets.filter(({ name }) => !elements.has(name));
    return [
      ...rebuildTable(table, {
        ...{ chains, sets },
        goneChains: [...observed.chains.filter((name) => !chains.has(name)), ...observed.otherChains],
        goneSets: observed.sets.filter((name) => !sets.has(name)),
      }),
      ...others.flatMap((set) => [
        ...(set.kind === "prefixes" && sets.has(set.name) ? [flushSet(table, set.name)] : []),
        ...addElements(table, set),
      ]),
    ];
  }

  /** The changes to the table before its frontends. */
  #repairs(observed: ObservedServices | undefined, settings: NodeSettings): Request[] {
    const table = servicesTable(settings, [...this.#parts.values()]);
    if (observed === undefined) return replaceTable(table);
    const present = new Set(observed.parts.map(partName));
    const missing = [...this.#parts.values()].filter((part) => !present.has(partName(part)));
    const held = servicesTable(settings, observed.parts);
    const isWhole = shapeDifference(held, observed.table) === "none";
    const elements = new Set(ELEMENT_SETS.map(({ name }) => name));
    const different = table.sets.filter((set) => !elements.has(set.name) && !hasSameElements(set, observed.table));
    const verdicts = different.filter(({ kind }) => kind === "tuples");
    const ranges = different.filter(({ kind }) => kind === "prefixes");
    return [
      ...(isWhole ? addParts(table, missing, observed.parts) : replaceRules(table, new Set(observed.table.chains))),
      ...changeElements(observed.table.elements, { ...table, sets: verdicts }),
      ...ranges.flatMap((set) => [flushSet(table, set.name), ...addElements(table, set)]),
    ];
  }

  #compareElements(held: Map<ElementId, Bytes>, packer: Packer): void {
    const [early, late] = [new ElementChanges(), new ElementChanges()];
    for (const id of this.#shared.keys()) if (!held.delete(id)) (isRefusing(id) ? late : early).add(id, "");
    packer.takeEach(early);
    const sources = sourcesByRow(held);
    for (const placed of this.#placed.values()) {
      const unit = new ElementChanges();
      emitElements(placed, (id, data) => {
        unit.turn(id, held.get(id), data);
        held.delete(id);
      });
      if (held.size > 0) {
        const stale = [...gateIds(placed.frontend), ...(sources.get(sourcesStart(placed.frontend)) ?? [])];
        for (const id of stale) if (held.delete(id)) unit.remove(id);
      }
      packer.take(unit);
    }
    packer.takeEach(late);
    const gone = new ElementChanges();
    for (const id of held.keys()) gone.remove(id);
    packer.takeGone(gone);
  }
}

/** If a frontend changes twice, uses its last state. */
function lastOfEach(changes: readonly FrontendChange[]): ReadonlyMap<string, Frontend | undefined> {
  const last = new Map<string, Frontend | undefined>();
  for (const { before, after } of changes) {
    const frontend = after ?? before;
    if (frontend !== undefined) last.set(frontendKey(frontend), after);
  }
  return last;
}

function changesBetween(before: Placed | undefined, after: Placed | undefined): ElementChanges {
  const changes = new ElementChanges();
  const held = new Map<ElementId, Bytes>();
  if (before !== undefined) emitElements(before, (id, data) => held.set(id, data));
  if (after !== undefined) {
    emitElements(after, (id, data) => {
      changes.turn(id, held.get(id), data);
      held.delete(id);
    });
  }
  for (const id of held.keys()) changes.remove(id);
  return changes;
}

/** The endpoints that the kernel has for a frontend, by slot. */
function heldSlots(held: ReadonlyMap<ElementId, Bytes>, frontend: Frontend, list: List): Bytes[] {
  if (held.size === 0) return [];
  const start = slotsId(frontend, list);
  const wanted = (list === "" ? frontend.endpoints : frontend.localEndpoints).length;
  const slots: Bytes[] = [];
  for (let slot = 0; ; slot++) {
    const endpoint = held.get(start + numberBytes(slot));
    if (endpoint === undefined && slot >= wanted) return slots;
    slots.push(endpoint ?? "");
  }
}

/** Groups the elements of allowed sources by `sourcesStart`. */
function sourcesByRow(held: ReadonlyMap<ElementId, Bytes>): ReadonlyMap<ElementId, readonly ElementId[]> {
  const rows = new Map<ElementId, ElementId[]>();
  for (const id of held.keys()) {
    const start = allowedSourcesStart(id);
    if (start === undefined) continue;
    const row = rows.get(start);
    if (row === undefined) rows.set(start, [id]);
    else row.push(id);
  }
  return rows;
}

function partsOf({ frontend, slots }: Placed): Part[] {
  const { affinity, address } = frontend;
  const { family } = address;
  const picks = LISTS.filter((list) => slots[list].length > 0).map(
    (list): Part => ({ kind: "pick", list, family, number: slots[list].length }),
  );
  return affinity === undefined ? picks : [...picks, { kind: "remember", list: "", family, number: affinity.seconds }];
}
