/** Deletes tracked flows: by filter in the kernel if it supports that, else one by one. */
import { deleteTracked } from "../../../pkg/kernel/connection.ts";
import {
  type ConnectionSelector,
  connectionDump,
  connectionFlush,
  type ExactSelector,
} from "../../../pkg/kernel/connection-selector.ts";
import type { FlowSearch } from "../../../pkg/kernel/flow-search.ts";
import { isNetlinkError } from "../../../pkg/netlink/errors.ts";
import type { EventedNetlink } from "../../../pkg/netlink/evented.ts";
import type { Message } from "../../../pkg/netlink/message.ts";

/** The number of flows that are parsed at once for deletion, one to two kilobytes each. */
const PARSED = 256;

export interface CleaningLimits {
  /** The number of flows that are kept at once, about 300 bytes each. Further ones are found by another dump. */
  readonly held: number;
  /** From this number on, another walk of a table of 100,000 flows costs less than one message per flow. */
  readonly flushedFrom: number;
}

const LIMITS: CleaningLimits = { held: 32_768, flushedFrom: 1024 };

interface Found {
  /** The kernel's messages, at most `held`. */
  readonly flows: readonly Message[];
  readonly count: number;
}

export class FlowCleaner {
  readonly #netlink: Pick<EventedNetlink, "dump" | "exchange">;
  readonly #limits: CleaningLimits;
  /** Set to false by the first refusal. */
  #canFlush = true;
  #knowsZones = true;

  constructor(netlink: Pick<EventedNetlink, "dump" | "exchange">, limits = LIMITS) {
    this.#netlink = netlink;
    this.#limits = limits;
  }

  /** Returns the number of deleted flows. Throws `NetlinkError`; the remaining flows then stay. */
  async clean(search: FlowSearch): Promise<number> {
    let deleted = 0;
    for (;;) {
      const { flows, count } = await this.#find(search);
      if (count === 0) return deleted;
      await search.beforeDeletion?.();
      if (count >= this.#limits.flushedFrom && search.exact && (await this.#flush(search.exact)))
        return deleted + count;
      deleted += await this.#delete(flows);
      if (count === flows.length) return deleted;
    }
  }

  async #find({ selector, matches }: FlowSearch): Promise<Found> {
    const flows: Message[] = [];
    let count = 0;
    await this.#dump(selector, (message) => {
      if (!matches(message)) return;
      count++;
      // A copy of the bytes: otherwise each flow would keep its entire datagram in memory.
      if (flows.length < this.#limits.held) flows.push({ ...message, payload: message.payload.slice() });
    });
    return { flows, count };
  }

  /** Calls `look` with each message, and keeps none. */
  async #dump(selector: ConnectionSelector, look: (message: Message) => void): Promise<void> {
    const seen = (message: Message) => {
      look(message);
      return false;
    };
    try {
      await this.#netlink.dump(connectionDump(this.#knowsZones ? selector : withoutZone(selector)), seen);
    } catch (error) {
      if (!this.#knowsZones || !isNetlinkError(error, "EOPNOTSUPP")) throw error;
      // A kernel built without zones has only zone 0.
      this.#knowsZones = false;
      await this.#netlink.dump(connectionDump(withoutZone(selector)), seen);
    }
  }

  /** False if the kernel cannot flush by filter. */
  async #flush(selector: ExactSelector): Promise<boolean> {
    if (!this.#canFlush) return false;
    const request = connectionFlush(this.#knowsZones ? selector : withoutZone(selector));
    const [reply] = await this.#netlink.exchange([request]);
    if (reply?.error === undefined) return true;
    if (!isNetlinkError(reply.error, "EINVAL", "EOPNOTSUPP")) throw reply.error;
    this.#canFlush = false;
    return false;
  }

  async #delete(flows: readonly Message[]): Promise<number> {
    let deleted = 0;
    for (let at = 0; at < flows.length; at += PARSED) {
      const requests = flows.slice(at, at + PARSED).map(deleteTracked);
      for (const { error } of await this.#netlink.exchange(requests)) {
        if (error === undefined) deleted++;
        else if (!isNetlinkError(error, "ENOENT")) throw error;
      }
    }
    return deleted;
  }
}

function withoutZone<S extends ConnectionSelector>(selector: S): S {
  return { ...selector, zone: undefined };
}
