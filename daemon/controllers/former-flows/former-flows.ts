/**
 * Deletes tracked connections of pods that have ended. A pod that gets the address of an earlier one would otherwise
 * inherit its connections: packets of a tracked connection pass without being judged by policies.
 *
 * The kernel has no index by address, and walks its whole table to find the connections of one. Measured on Linux 6.18
 * with 262,144 buckets, per walk: a dump of a family takes 9 ms with no entries, 18 ms with 10,000 and 101 ms with
 * 100,000; a dump that the kernel filters by an address 9, 11 and 31 ms; a flush that it filters (Linux 6.11, IPv4 only)
 * 0.1, 1.4 and 25 ms. A complete cleaning takes one dump, or four filtered walks: source and destination of both
 * directions. An ADD must not take 0.5 ms longer for its policies. weftd therefore cleans when the pod's link is gone, in
 * the background, and remembers which addresses no tracked connection has: at its start, those of the pods' subnets that no
 * pod uses and no tracked connection has; later, those that it has cleaned. ADD waits for a cleaning only if the address
 * is not among them.
 */
import type { Clock } from "../../../pkg/cluster/clock.ts";
import { type Address, addressKey, addressToBytes, type Family } from "../../../pkg/ip/address.ts";
import { contains, type Prefix } from "../../../pkg/ip/prefix.ts";
import {
  addressesOf,
  bytesKey,
  connectionsOfFamily,
  deleteTracked,
  hasAddressIn,
} from "../../../pkg/kernel/connection.ts";
import { isNetlinkError } from "../../../pkg/netlink/errors.ts";
import type { EventedNetlink } from "../../../pkg/netlink/evented.ts";
import type { Message } from "../../../pkg/netlink/message.ts";
import type { Logger } from "../../core/log.ts";
import type { AttachedAddresses } from "../facts.ts";

/** A link of a younger attachment may be missing in a snapshot of the kernel that was taken before. */
const YOUNG_MS = 2000;

/** The number of connections that are kept at once, about 300 bytes each. Another dump finds further ones. */
const HELD = 32_768;

interface Attachment {
  readonly addresses: readonly Address[];
  readonly sinceMs: number;
}

/** Addresses that wait for the same walk. */
interface Walk {
  readonly addresses: Map<string, Address>;
  readonly done: Promise<void>;
}

export interface FormerFlowsParts {
  /** A socket of its own: a walk takes up to a tenth of a second. */
  readonly connections: Pick<EventedNetlink, "dump" | "exchange">;
  readonly clock: Pick<Clock, "nowMs">;
  readonly log: Pick<Logger, "info">;
}

export class FormerFlows {
  readonly #parts: FormerFlowsParts;
  readonly #attachments = new Map<string, Attachment>();
  /** True for addresses that no pod uses and that no tracked connection has; false for others. By `addressKey`. */
  readonly #isClean = new Map<string, boolean>();
  /** Addresses of these subnets are clean if `#isClean` lacks them. */
  #surveyed: readonly Prefix[] = [];
  #running: Promise<void> = Promise.resolve();
  #next: Walk | undefined;

  constructor(parts: FormerFlowsParts) {
    this.#parts = parts;
  }

  /**
   * Finds the clean addresses of `subnets`: those that are not in `used` and that no tracked connection has. `used` must
   * have been read before this call, and must contain the addresses of all pods that `attached` does not report. Rejects
   * if the kernel refuses.
   */
  async survey(subnets: readonly Prefix[], used: readonly Address[]): Promise<void> {
    const isOfPods = (address: Address) => subnets.some((subnet) => contains(subnet, address));
    for (const address of used) this.#isClean.set(addressKey(address), false);
    const families = new Set(subnets.map(({ address }) => address.family));
    for (const family of families) {
      await this.#parts.connections.dump(connectionsOfFamily(family), (message) => {
        for (const address of addressesOf(message))
          if (isOfPods(address)) this.#isClean.set(addressKey(address), false);
        return false;
      });
    }
    this.#surveyed = subnets;
  }

  /**
   * Notes that a pod uses these addresses from now on. Resolves when no connection of an earlier pod has one of them. A
   * pod without isolation does not wait: none of its packets is judged. Rejects if the kernel refuses; the addresses then
   * count as not cleaned.
   */
  async attached({ containerId, ifName, addresses }: AttachedAddresses, isIsolated: boolean): Promise<void> {
    const unclean = addresses.filter((address) => !this.#isCleanNow(address));
    for (const address of addresses) this.#isClean.set(addressKey(address), false);
    this.#attachments.set(`${containerId}/${ifName}`, { addresses, sinceMs: this.#parts.clock.nowMs() });
    if (isIsolated && unclean.length > 0) await this.#walkFor(unclean);
  }

  /** True if an attachment may have ended. */
  get hasAttachments(): boolean {
    return this.#attachments.size > 0;
  }

  /**
   * Cleans the addresses of attachments without a link. `hasLink` is true if the link of an attachment exists. Returns
   * false if an attachment is too young to be judged: another call must follow.
   */
  async compare(hasLink: (containerId: string, ifName: string) => boolean): Promise<boolean> {
    const nowMs = this.#parts.clock.nowMs();
    const gone = [...this.#attachments].filter(([key]) => {
      const slash = key.lastIndexOf("/");
      return !hasLink(key.slice(0, slash), key.slice(slash + 1));
    });
    const ended = gone.filter(([, { sinceMs }]) => nowMs - sinceMs >= YOUNG_MS);
    for (const [key] of ended) this.#attachments.delete(key);
    await this.#cleanUnused(ended.flatMap(([, { addresses }]) => addresses));
    return ended.length === gone.length;
  }

  async #cleanUnused(ended: readonly Address[]): Promise<void> {
    // An address that another pod has by now was cleaned by its ADD.
    const isUsed = this.#usedKeys();
    const unused = ended.filter((address) => !isUsed.has(addressKey(address)));
    if (unused.length === 0) return;
    await this.#walkFor(unused);
    const isUsedNow = this.#usedKeys();
    for (const address of unused) if (!isUsedNow.has(addressKey(address))) this.#isClean.set(addressKey(address), true);
  }

  #isCleanNow(address: Address): boolean {
    return this.#isClean.get(addressKey(address)) ?? this.#surveyed.some((subnet) => contains(subnet, address));
  }

  #usedKeys(): ReadonlySet<string> {
    return new Set([...this.#attachments.values()].flatMap(({ addresses }) => addresses.map(addressKey)));
  }

  /** Resolves after a walk that begins after this call. Calls that come while a walk runs share the next one. */
  #walkFor(addresses: readonly Address[]): Promise<void> {
    if (this.#next === undefined) {
      const walk = { addresses: new Map<string, Address>() };
      const done = this.#running
        .catch(() => undefined)
        .then(() => {
          this.#next = undefined;
          return this.#clear([...walk.addresses.values()]);
        });
      this.#next = { ...walk, done };
      this.#running = done;
    }
    for (const address of addresses) this.#next.addresses.set(addressKey(address), address);
    return this.#next.done;
  }

  async #clear(addresses: readonly Address[]): Promise<void> {
    for (const family of [4, 6] as const) {
      const keys = new Set(
        addresses.filter((each) => each.family === family).map((each) => bytesKey(addressToBytes(each))),
      );
      if (keys.size === 0) continue;
      const deleted = await this.#clearFamily(family, keys);
      const { log } = this.#parts;
      if (deleted > 0) log.info({ family, deleted, addresses: keys.size }, "deleted connections of ended pods");
    }
  }

  async #clearFamily(family: Family, keys: ReadonlySet<string>): Promise<number> {
    const { connections } = this.#parts;
    for (let deleted = 0; ; ) {
      const found: Message[] = [];
      let isAll = true;
      await connections.dump(connectionsOfFamily(family), (message) => {
        if (!hasAddressIn(keys, message)) return false;
        // A copy of the bytes: otherwise each connection would keep its entire datagram in memory.
        if (found.length < HELD) found.push({ ...message, payload: message.payload.slice() });
        else isAll = false;
        return false;
      });
      for (const { error } of await connections.exchange(found.map(deleteTracked))) {
        if (error === undefined) deleted++;
        else if (!isNetlinkError(error, "ENOENT")) throw error;
      }
      if (isAll) return deleted;
    }
  }
}
