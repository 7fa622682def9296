/** Deletes stale flows: in the kernel where that can delete by filter, else one by one by what names each. */
import { deleteConnection, isToPorts, parseConnection } from "../../../pkg/kernel/connection.ts";
import {
  type ConnectionSelector,
  connectionDump,
  connectionFlush,
  type ExactSelector,
} from "../../../pkg/kernel/connection-selector.ts";
import { isNetlinkError } from "../../../pkg/netlink/errors.ts";
import type { EventedNetlink } from "../../../pkg/netlink/evented.ts";
import type { Message } from "../../../pkg/netlink/message.ts";
import type { Search } from "../../../pkg/services/conntrack/search.ts";

/** So many are parsed at once to be deleted, a kilobyte or two each. */
const PARSED = 256;

export interface CleaningLimits {
  /** So many flows are held at once, some 300 bytes each; those beyond are found by another dump. */
  readonly held: number;
  /** From so many on, one more walk of a table of 100,000 flows costs less than a message for each. */
  readonly flushedFrom: number;
}

const LIMITS: CleaningLimits = { held: 32_768, flushedFrom: 1024 };

interface Found {
  /** As the kernel tells them, at most `held`. */
  readonly flows: readonly Message[];
  readonly count: number;
}

export class FlowCleaner {
  readonly #netlink: Pick<EventedNetlink, "dump" | "exchange">;
  readonly #limits: CleaningLimits;
  /** Learned from the first refusal. */
  #canFlush = true;
  #knowsZones = true;

  constructor(netlink: Pick<EventedNetlink, "dump" | "exchange">, limits = LIMITS) {
    this.#netlink = netlink;
    this.#limits = limits;
  }

  /** Returns how many flows were deleted. Throws `NetlinkError`; flows that were not reached stay. */
  async clean(search: Search): Promise<number> {
    let deleted = 0;
    for (;;) {
      const { flows, count } = await this.#find(search);
      if (count === 0) return deleted;
      if (count >= this.#limits.flushedFrom && search.exact && (await this.#flush(search.exact)))
        return deleted + count;
      deleted += await this.#delete(flows);
      if (count === flows.length) return deleted;
    }
  }

  async #find({ selector, ports, isStale }: Search): Promise<Found> {
    const flows: Message[] = [];
    let count = 0;
    await this.#dump(selector, (message) => {
      if (!isToPorts(selector.protocol, ports, message)) return;
      const flow = parseConnection(message);
      if (flow === undefined || !isStale(flow)) return;
      count++;
      // In bytes of its own: a flow would hold its whole datagram.
      if (flows.length < this.#limits.held) flows.push({ ...message, payload: message.payload.slice() });
    });
    return { flows, count };
  }

  /** Shows each message to `look`, and keeps none. */
  async #dump(selector: ConnectionSelector, look: (message: Message) => void): Promise<void> {
    const seen = (message: Message) => {
      look(message);
      return false;
    };
    try {
      await this.#netlink.dump(connectionDump(this.#knowsZones ? selector : withoutZone(selector)), seen);
    } catch (error) {
      if (!this.#knowsZones || !isNetlinkError(error, "EOPNOTSUPP")) throw error;
      // Built without zones, the kernel has none but zone 0.
      this.#knowsZones = false;
      await this.#netlink.dump(connectionDump(withoutZone(selector)), seen);
    }
  }

  /** False where the kernel cannot. */
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
      const parsed = flows.slice(at, at + PARSED).flatMap((message) => parseConnection(message) ?? []);
      for (const { error } of await this.#netlink.exchange(parsed.map(deleteConnection))) {
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
