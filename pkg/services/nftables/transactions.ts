/**
 * Changes of elements, packed into transactions that hold the kernel's lock for a short time only. A frontend's change is one
 * transaction where it is small. Large ones are several, in an order in which each frontend always has endpoints: first what
 * connections may lead to from now on, then the gates, which all of them pass, last what nothing leads to any more.
 */

import type { Request } from "../../netlink/message.ts";
import { addBytes, deleteBytes } from "../../nft/element-bytes.ts";
import type { Table } from "../../nft/table.ts";
import type { Transaction } from "../mode.ts";
import type { Bytes } from "./bytes.ts";
import { type ElementId, isGate, setIndex } from "./emission.ts";
import { FRONTEND_SETS } from "./sets.ts";

/**
 * The most elements of a transaction, apart from those of one frontend that must change together (its allowed sources).
 * Linux 6.18 takes 2 to 4 ms for so many.
 */
export const LARGEST_TRANSACTION = 1000;

/** Elements to remove and to add. One whose data changes is in both. */
export class ElementChanges {
  readonly removals: ElementId[] = [];
  readonly additions: ElementId[] = [];
  /** Beside `additions`. */
  readonly data: Bytes[] = [];

  get size(): number {
    return this.removals.length + this.additions.length;
  }

  remove(id: ElementId): void {
    this.removals.push(id);
  }

  add(id: ElementId, data: Bytes): void {
    this.additions.push(id);
    this.data.push(data);
  }

  /** From `held` to `data`; both `undefined` where there is no such element. */
  turn(id: ElementId, held: Bytes | undefined, data: Bytes | undefined): void {
    if (held === data) return;
    if (held !== undefined) this.remove(id);
    if (data !== undefined) this.add(id, data);
  }

  append({ removals, additions, data }: ElementChanges): void {
    for (const id of removals) this.remove(id);
    additions.forEach((id, at) => {
      this.add(id, data[at] ?? "");
    });
  }
}

export class Packer {
  readonly #table: Table;
  #requests: readonly Request[];
  #open = new ElementChanges();
  readonly #transactions: Transaction[] = [];

  /** `first` comes before all elements. */
  constructor(table: Table, first: readonly Request[]) {
    this.#table = table;
    this.#requests = first;
  }

  /** Changes that belong together. They share a transaction with others where there is room. */
  take(changes: ElementChanges): void {
    if (changes.size === 0) return;
    if (changes.size <= LARGEST_TRANSACTION) {
      if (this.#open.size + changes.size > LARGEST_TRANSACTION) this.#close();
      this.#open.append(changes);
      return;
    }
    const [before, gates, after] = inOrder(changes);
    this.takeEach(before);
    this.#close();
    this.#open.append(gates);
    this.#close();
    this.takeEach(after);
  }

  /** Changes that do not depend on each other, in as many transactions as it takes. */
  takeEach(changes: ElementChanges): void {
    for (const change of split(changes)) {
      if (this.#open.size + change.size > LARGEST_TRANSACTION) this.#close();
      this.#open.append(change);
    }
  }

  /** Elements that no frontend has any more: gates first. */
  takeGone(changes: ElementChanges): void {
    const [, gates, after] = inOrder(changes);
    this.takeEach(gates);
    this.takeEach(after);
  }

  finish(): readonly Transaction[] {
    this.#close();
    return this.#transactions;
  }

  #close(): void {
    const transaction = [...this.#requests, ...elementRequests(this.#table, this.#open)];
    this.#requests = [];
    this.#open = new ElementChanges();
    if (transaction.length > 0) this.#transactions.push(transaction);
  }
}

function inOrder({ removals, additions, data }: ElementChanges): [ElementChanges, ElementChanges, ElementChanges] {
  const [before, gates, after] = [new ElementChanges(), new ElementChanges(), new ElementChanges()];
  const added = new Set(additions);
  // The new data of an element that stays is good at once: what leads to it may come before or after.
  for (const id of removals) (isGate(id) ? gates : added.has(id) ? before : after).remove(id);
  additions.forEach((id, at) => {
    (isGate(id) ? gates : before).add(id, data[at] ?? "");
  });
  return [before, gates, after];
}

/** Pieces of a tenth of a transaction; an element's removal and addition stay together. */
function split({ removals, additions, data }: ElementChanges): ElementChanges[] {
  const pieces: ElementChanges[] = [];
  let piece = new ElementChanges();
  const turn = () => {
    if (piece.size < LARGEST_TRANSACTION / 10) return;
    pieces.push(piece);
    piece = new ElementChanges();
  };
  const removed = new Set(removals);
  additions.forEach((id, at) => {
    if (removed.delete(id)) piece.remove(id);
    piece.add(id, data[at] ?? "");
    turn();
  });
  for (const id of removed) {
    piece.remove(id);
    turn();
  }
  return [...pieces, piece];
}

/** Removals come first: an element whose data changes goes before it comes. */
function elementRequests(table: Table, { removals, additions, data }: ElementChanges): Request[] {
  const gone = bySet(removals, []);
  const added = bySet(additions, data);
  return [
    ...gone.flatMap(({ set, keys }) => deleteBytes(table, set, keys)),
    ...added.flatMap(({ set, ...elements }) => addBytes(table, set, elements)),
  ];
}

function bySet(ids: readonly ElementId[], data: readonly Bytes[]) {
  const sets = FRONTEND_SETS.map((set) => ({ set, keys: [] as Bytes[], data: [] as Bytes[] }));
  ids.forEach((id, at) => {
    const entry = sets[setIndex(id)];
    entry?.keys.push(id.slice(1));
    entry?.data.push(data[at] ?? "");
  });
  return sets.filter(({ keys }) => keys.length > 0);
}
