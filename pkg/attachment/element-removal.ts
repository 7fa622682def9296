/**
 * DEL: removes the attachment's elements from nf_tables by their keys, those of all tables in one transaction.
 *
 * After a removal, the kernel waits for an RCU grace period before it frees the elements, and closing any nfnetlink socket
 * waits for it (nft_rcv_nl_event in net/netfilter/nf_tables_api.c). This takes 8 to 30 ms, as long as the removal of a
 * device does. So the socket stays open until everything else is done, and the two periods overlap.
 */
import { type BlockingNetlink, openNetfilter } from "../netlink/blocking.ts";
import { isNetlinkError } from "../netlink/errors.ts";
import type { Message, Query, Request } from "../netlink/message.ts";
import { readRuleset } from "../netlink/ruleset.ts";
import { isSystemError } from "../sys/errors.ts";
import type { System } from "../sys/system.ts";

/** The elements of an attachment in one table. */
export interface OwnElements {
  /** The queries whose answers `remove` needs. */
  readonly questions: readonly Query[];
  /**
   * Removes the elements by their keys. Undefined if the keys are not known, or if `seen` does not have the elements as
   * ADD added them. The kernel answers ENOENT if one of them is missing.
   */
  readonly remove: (seen: readonly Message[]) => readonly Request[] | undefined;
  /** Finds the elements by the owner's mark. Returns true if there were any. */
  readonly removeByMark: () => boolean;
}

export class ElementRemoval {
  readonly #system: System;
  readonly #parts: readonly OwnElements[];
  #netfilter: BlockingNetlink | undefined;
  #isDone = false;

  constructor(system: System, parts: readonly OwnElements[]) {
    this.#system = system;
    this.#parts = parts;
  }

  get isEmpty(): boolean {
    return this.#parts.length === 0;
  }

  /** Removes the elements by their keys if this is possible. Does not throw if the kernel refuses. */
  removeByKeys(): void {
    if (this.#isDone || this.isEmpty) return;
    try {
      this.#netfilter ??= openNetfilter(this.#system);
      const seen = readRuleset(
        this.#netfilter,
        this.#parts.flatMap(({ questions }) => questions),
      );
      const removals = this.#parts.map((part) => part.remove(seen));
      if (removals.includes(undefined)) return;
      this.#netfilter.commit(removals.flatMap((requests) => requests ?? []));
      this.#isDone = true;
    } catch (error) {
      // `remove` finds the reason.
      if (!isNetlinkError(error) && !isSystemError(error)) throw error;
    }
  }

  /**
   * Removes all elements: by their keys, or by the owner's mark. Returns true if there were any. Throws if the kernel
   * refuses. Succeeds if the kernel does not support nf_tables.
   */
  remove(): boolean {
    this.removeByKeys();
    if (this.#isDone) return !this.isEmpty;
    return this.#parts.map(({ removeByMark }) => removeByMark()).includes(true);
  }

  /** Waits until the kernel has freed the elements. */
  close(): void {
    this.#netfilter?.close();
  }
}
