/** Deletes stale flows: in the kernel where that can delete by filter, else one by one by what names each. */
import {
  deleteConnection,
  isToPorts,
  parseConnection,
  type TrackedConnection,
} from "../../../pkg/kernel/connection.ts";
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

/** So many flows are held at once, some kilobytes each; those beyond are found by another dump. */
const HELD = 4096;

/** From so many on, one more walk of a table of 100,000 flows costs less than a message for each. */
const FLUSHED_FROM = 1024;

interface Found {
  /** At most `HELD`. */
  readonly flows: readonly TrackedConnection[];
  readonly count: number;
}

export class FlowCleaner {
  readonly #netlink: Pick<EventedNetlink, "dump" | "exchange">;
  /** Learned from the first refusal. */
  #canFlush = true;
  #knowsZones = true;

  constructor(netlink: Pick<EventedNetlink, "dump" | "exchange">) {
    this.#netlink = netlink;
  }

  /** Returns how many flows were deleted. Throws `NetlinkError`; flows that were not reached stay. */
  async clean(search: Search): Promise<number> {
    let deleted = 0;
    for (;;) {
      const { flows, count } = await this.#find(search);
      if (count === 0) return deleted;
      if (count >= FLUSHED_FROM && search.exact && (await this.#flush(search.exact))) return deleted + count;
      deleted += await this.#delete(flows);
      if (count === flows.length) return deleted;
    }
  }

  async #find({ selector, ports, isStale }: Search): Promise<Found> {
    const flows: TrackedConnection[] = [];
    let count = 0;
    await this.#dump(selector, (message) => {
      if (!isToPorts(selector.protocol, ports, message)) return;
      const flow = parseConnection(message);
      if (flow === undefined || !isStale(flow)) return;
      count++;
      // Bytes of its own: a flow would hold its whole datagram.
      const own = flows.length < HELD && parseConnection({ ...message, payload: message.payload.slice() });
      if (own) flows.push(own);
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

  async #delete(flows: readonly TrackedConnection[]): Promise<number> {
    let deleted = 0;
    for (const { error } of await this.#netlink.exchange(flows.map(deleteConnection))) {
      if (error === undefined) deleted++;
      else if (!isNetlinkError(error, "ENOENT")) throw error;
    }
    return deleted;
  }
}

function withoutZone<S extends ConnectionSelector>(selector: S): S {
  return { ...selector, zone: undefined };
}
