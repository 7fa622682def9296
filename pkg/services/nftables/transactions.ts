/**
 * Packs changes of elements into transactions, each of which holds the kernel's lock only for a short time. A small
 * change of a frontend is one transaction. A large one is several, in an order in which each frontend always has
 * endpoints: first the new targets of connections, then the gates, which all connections pass, and last the elements
 * that are no longer used.
 */

import type { Request } from "../../netlink/message.ts";
import { addBytes, deleteBytes } from "../../nft/element-bytes.ts";
import type { Table } from "../../nft/table.ts";
import type { Transaction } from "../mode.ts";
import type { Bytes } from "./bytes.ts";
import { type ElementId, isGate, setIndex } from "./emission.ts";
import { FRONTEND_SETS } from "./sets.ts";

/**
 * The maximum number of elements in a transaction, except elements of one frontend that must change together (its
 * allowed sources). Linux 6.18 needs 2 to 4 ms for this number.
 */
export const LARGEST_TRANSACTION = 1000;

/** Elements to remove and to add. An element whose data changes is in both lists. */
export class ElementChanges {
  readonly removals: ElementId[] = [];
  readonly additions: ElementId[] = [];
  /** The data of `additions`, by index. */
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

  /** Changes an element's data from `held` to `data`; `undefined` means no element. */
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

  /** The requests in `first` come before all elements. */
  constructor(table: Table, first: readonly Request[]) {
    this.#table = table;
    this.#requests = first;
  }

  /** Takes changes that belong together. They share a transaction with others if there is space. */
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

  /** Takes independent changes, in as many transactions as necessary. */
  takeEach(changes: ElementChanges): void {
    for (const change of split(changes)) {
      if (this.#open.size + change.size > LARGEST_TRANSACTION) this.#close();
      this.#open.append(change);
    }
  }

  /** Takes elements that no frontend uses any more: gates first. */
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
  // The new data of an existing element is valid at once, so elements that lead to it may change before or after.
  for (const id of removals) (isGate(id) ? gates : added.has(id) ? before : after).remove(id);
  additions.forEach((id, at) => {
    (isGate(id) ? gates : before).add(id, data[at] ?? "");
  });
  return [before, gates, after];
}

/** Splits changes into pieces of a tenth of a transaction; an element's removal and addition stay together. */
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

/** Removals come first: an element whose data changes is removed before it is added. */
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
