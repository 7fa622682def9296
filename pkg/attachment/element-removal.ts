/**
 * DEL: removes the attachment's elements from all nf_tables tables of one plugin, in one transaction: by their keys, or by
 * the owner's mark if an element is not as ADD added it.
 *
 * After a removal, the kernel waits for an RCU grace period before it frees the elements, and closing any nfnetlink socket
 * waits for it (nft_rcv_nl_event in net/netfilter/nf_tables_api.c). This takes 8 to 30 ms, as long as the removal of a
 * device does. So the socket stays open until everything else is done, and the two periods overlap. Where
 * the kernel closes handed-over sockets in a thread of its own (`host_hand_over` in pkg/sys/host/network.c; seen on Linux
 * 6.18), the close itself takes no time.
 */
import { type BlockingNetlink, openNetfilter } from "../netlink/blocking.ts";
import { isNetlinkError } from "../netlink/errors.ts";
import type { Message, Query, Request } from "../netlink/message.ts";
import { changeOver, lacksNetfilter, readRuleset } from "../netlink/ruleset.ts";
import { isSystemError } from "../sys/errors.ts";
import type { System } from "../sys/system.ts";

/** The elements of an attachment in the tables of one purpose. */
export interface OwnElements {
  /** The queries whose answers `remove` needs. */
  readonly questions: readonly Query[];
  /**
   * Removes the elements by their keys. Undefined if the keys are not known, or if `seen` does not have the elements as
   * ADD added them. The kernel answers ENOENT if one of them is missing.
   */
  readonly remove: (seen: readonly Message[]) => readonly Request[] | undefined;
  /** The dumps whose answers `removeMarked` needs. */
  readonly dumps: readonly Query[];
  /** Removes all elements with the owner's mark. Empty if there are none. */
  readonly removeMarked: (dumped: readonly Message[]) => readonly Request[];
}

export class ElementRemoval {
  readonly #system: System;
  readonly #parts: readonly OwnElements[];
  #netfilter: BlockingNetlink | undefined;
  #isDone = false;
  #isFound = false;

  constructor(system: System, parts: readonly OwnElements[]) {
    this.#system = system;
    this.#parts = parts;
  }

  get isEmpty(): boolean {
    return this.#parts.length === 0;
  }

  /** Like `remove`, but does not throw if the kernel refuses. A later `remove` tries again. */
  tryRemove(): void {
    try {
      this.remove();
    } catch (error) {
      if (!isNetlinkError(error) && !isSystemError(error)) throw error;
    }
  }

  /** Returns true if there were elements. Succeeds if there are none, or if the kernel does not support nf_tables. */
  remove(): boolean {
    if (this.#isDone || this.isEmpty) return this.#isFound;
    try {
      this.#netfilter ??= openNetfilter(this.#system);
      this.#isFound = this.#removeByKeys(this.#netfilter) || this.#removeByMarks(this.#netfilter);
    } catch (error) {
      if (!lacksNetfilter(error)) throw error;
    }
    this.#isDone = true;
    return this.#isFound;
  }

  /** May wait until the kernel has freed the elements. */
  close(): void {
    this.#netfilter?.close();
  }

  /** Returns false if this is not possible. */
  #removeByKeys(netfilter: BlockingNetlink): boolean {
    const seen = this.#parts.flatMap(({ questions }) => seenIn(netfilter, questions));
    const removals = this.#parts.map((part) => part.remove(seen));
    if (removals.includes(undefined)) return false;
    try {
      netfilter.commit(removals.flatMap((requests) => requests ?? []));
      return true;
    } catch (error) {
      if (!isNetlinkError(error, "ENOENT")) throw error;
      return false;
    }
  }

  #removeByMarks(netfilter: BlockingNetlink): boolean {
    let isFound = false;
    changeOver(
      netfilter,
      this.#system,
      () => this.#parts.map(({ dumps }) => seenIn(netfilter, dumps)),
      (seen) => {
        const requests = this.#parts.flatMap((part, at) => part.removeMarked(seen[at] ?? []));
        isFound = requests.length > 0;
        return { requests, generation: undefined };
      },
    );
    return isFound;
  }
}

/** The kernel may support nf_tables for some families only. */
function seenIn(netfilter: BlockingNetlink, questions: readonly Query[]): readonly Message[] {
  try {
    return questions.length === 0 ? [] : readRuleset(netfilter, questions);
  } catch (error) {
    if (lacksNetfilter(error)) return [];
    throw error;
  }
}
