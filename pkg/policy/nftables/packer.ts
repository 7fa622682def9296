/** Packs changes into transactions, each of which holds the kernel's lock only for a short time. */
import type { Request } from "../../netlink/message.ts";
import { addBytes, type Bytes, deleteBytes, type ElementForm } from "../../nft/element-bytes.ts";
import type { Transaction } from "../program.ts";
import { BASE } from "./layout.ts";

/** About the maximum number of elements and objects in a transaction. Linux 6.18 needs 2 to 4 ms for this number. */
export const LARGEST_TRANSACTION = 1000;

interface Turn {
  /** The data before the transaction; undefined: no element. */
  readonly before: Bytes | undefined;
  readonly after: Bytes | undefined;
}

interface SetTurns {
  readonly form: ElementForm;
  readonly turns: Map<Bytes, Turn>;
}

export class Packer {
  readonly #largest: number;
  readonly #transactions: Transaction[] = [];
  #requests: Request[] = [];
  /** Changes of elements after `#requests`, by the name of the set. */
  #open = new Map<string, SetTurns>();
  #size = 0;

  /** `largest` is the size at which `mayEnd` ends a transaction. */
  constructor(largest: number) {
    this.#largest = largest;
  }

  /** Changes the data of an element; undefined means no element. */
  turn(form: ElementForm, key: Bytes, before: Bytes | undefined, after: Bytes | undefined): void {
    let set = this.#open.get(form.name);
    if (set === undefined) {
      set = { form, turns: new Map() };
      this.#open.set(form.name, set);
    }
    const earlier = set.turns.get(key);
    if (earlier === undefined) this.#size += 1;
    set.turns.set(key, { before: earlier === undefined ? before : earlier.before, after });
  }

  /** Adds requests after everything that was added before. They share one transaction. */
  add(requests: readonly Request[], size = requests.length): void {
    this.#closeElements();
    for (const request of requests) this.#requests.push(request);
    this.#size += size;
  }

  /** Ends the transaction here if it is large enough. */
  mayEnd(): void {
    if (this.#size >= this.#largest) this.end();
  }

  /** Ends the transaction. Later changes become another one. */
  end(): void {
    this.#closeElements();
    if (this.#requests.length > 0) this.#transactions.push(this.#requests);
    this.#requests = [];
    this.#size = 0;
  }

  finish(): readonly Transaction[] {
    this.end();
    return this.#transactions;
  }

  /** Removals come first: an element with changed data is removed before it is added. */
  #closeElements(): void {
    const additions: Request[] = [];
    for (const { form, turns } of this.#open.values()) {
      const gone: Bytes[] = [];
      const added = { keys: [] as Bytes[], data: [] as Bytes[] };
      for (const [key, { before, after }] of turns) {
        if (before === after) continue;
        if (before !== undefined) gone.push(key);
        if (after === undefined) continue;
        added.keys.push(key);
        added.data.push(after);
      }
      this.#requests.push(...deleteBytes(BASE, form, gone));
      additions.push(...addBytes(BASE, form, added));
    }
    this.#requests.push(...additions);
    this.#open = new Map();
  }
}
