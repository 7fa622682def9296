/** Reads from the kernel and sends to it, and reports every refusal. */

import { FORWARD_MARK } from "../../../pkg/footprint.ts";
import type { BaseChains } from "../../../pkg/foreign/base-chains.ts";
import { acceptForwardedRanges, FORWARD_OPTIONS, forgetRanges } from "../../../pkg/foreign/foreign-forward.ts";
import { forwardingLook } from "../../../pkg/foreign/forward-look.ts";
import type { Address, Family } from "../../../pkg/ip/address.ts";
import { formatPrefix, type Prefix } from "../../../pkg/ip/prefix.ts";
import { parseProxy, planProxies, proxyDump } from "../../../pkg/kernel/neighbour-proxy.ts";
import { parseSnapshot, snapshotDumps } from "../../../pkg/kernel/snapshot.ts";
import { isExists, isGone, isNetlinkError, type NetlinkError } from "../../../pkg/netlink/errors.ts";
import type { EventedNetlink } from "../../../pkg/netlink/evented.ts";
import type { Message, Request } from "../../../pkg/netlink/message.ts";
import { changeTable } from "../../../pkg/nft/change.ts";
import { tableQuestions } from "../../../pkg/nft/comparison.ts";
import type { ChainPlace, NftRuleset } from "../../../pkg/nft/ruleset.ts";
import type { Table } from "../../../pkg/nft/table.ts";
import type { Observation } from "../shared-kernel.ts";
import { answeredBy, readRuleset } from "./ruleset.ts";

/**
 * The kernel refused some requests, at least one of which this node needs for itself. The other requests were carried
 * out.
 */
export class RefusedError extends AggregateError {
  constructor(refusals: readonly NetlinkError[]) {
    const [first] = refusals;
    const others = refusals.length > 1 ? ` (and ${refusals.length - 1} more)` : "";
    super(refusals, `the kernel refused: ${first?.message}${others}`);
    this.name = "RefusedError";
  }
}

/** The kernel refused only requests about single peers. This node serves its pods and reaches the other peers. */
export class PeerRefusedError extends RefusedError {
  constructor(refusals: readonly NetlinkError[]) {
    super(refusals);
    this.name = "PeerRefusedError";
  }
}

/** The requests that were sent, and the kernel's refusals. */
export interface Sent {
  readonly requests: readonly Request[];
  readonly refusals: readonly NetlinkError[];
}

/** The outcome of changes to other programs' forward chains. */
export interface Accepted {
  readonly sent: readonly Request[];
  /** Refusals for tables whose owners exclude other programs. */
  readonly blocked: readonly NetlinkError[];
}

const ATTEMPTS = 5;

export class Programmer {
  readonly #netlink: Pick<EventedNetlink, "dump" | "exchange">;
  readonly #nftables: Pick<EventedNetlink, "dump" | "exchange" | "commit">;
  readonly #bases: BaseChains;
  readonly #onSend: () => void;

  /**
   * `bases` receives the base chains that other programs add. `onSend` is called before and after rtnetlink requests
   * are sent, because earlier dumps are then outdated.
   */
  constructor(
    netlink: Pick<EventedNetlink, "dump" | "exchange">,
    nftables: Pick<EventedNetlink, "dump" | "exchange" | "commit">,
    bases: BaseChains,
    onSend: () => void = () => undefined,
  ) {
    this.#netlink = netlink;
    this.#nftables = nftables;
    this.#bases = bases;
    this.#onSend = onSend;
  }

  async observe(): Promise<Observation> {
    const dumps: (readonly Message[])[] = [];
    for (const dump of snapshotDumps()) dumps.push(await this.#netlink.dump(dump));
    return { state: parseSnapshot(dumps), port: dumps[0]?.[0]?.portId ?? 0 };
  }

  /**
   * Makes the kernel answer ARP and neighbour solicitations for exactly `addresses` of `family` on the link `index`, in
   * place of the hosts with these addresses.
   */
  async answerFor(index: number, family: Family, addresses: readonly Address[]): Promise<Sent> {
    const held = (await this.#netlink.dump(proxyDump(family))).flatMap((message) => parseProxy(message) ?? []);
    const requests = planProxies(index, addresses, held);
    const refusals = requests.length === 0 ? [] : await this.send(requests);
    return { requests, refusals: refusals.filter((error) => !isGone(error) && !isExists(error)) };
  }

  /** Sends requests in order and returns the refusals. A deletion of an object that is already gone counts as done. */
  async send(requests: readonly Request[]): Promise<readonly NetlinkError[]> {
    this.#onSend();
    // Many requests are several datagrams, and a dump may run between them.
    const replies = await this.#netlink.exchange(requests).finally(this.#onSend);
    return replies.flatMap(({ request, error }) =>
      error === undefined || (isGone(error) && request.identifier.startsWith("RTM_DEL")) ? [] : [error],
    );
  }

  /** Commits one nftables transaction. Throws `NetlinkError`. */
  async commit(requests: readonly Request[]): Promise<void> {
    await this.#nftables.commit(requests);
  }

  /**
   * Makes the kernel's table equal to `table`, in one transaction. Returns false if it already was. `isAllowed` is
   * called before a change; if it returns false, nothing changes.
   */
  async replaceTable(table: Table, isAllowed: () => boolean = () => true): Promise<boolean> {
    const held = await readRuleset(this.#nftables, tableQuestions(table));
    const requests = changeTable(table, held);
    if (requests.length === 0 || !isAllowed()) return false;
    await this.#nftables.commit(requests);
    return true;
  }

  /**
   * Accepts traffic from and to `ranges` in other programs' forward chains that would drop it, and removes what earlier
   * calls accepted for other ranges. `isAllowed` is called before a change. A table that excludes other programs
   * (NFT_TABLE_F_OWNER) does not keep the other tables from being changed. Throws `NetlinkError`.
   */
  async acceptForwarded(
    ranges: readonly Prefix[],
    isAllowed: (requests: readonly Request[]) => boolean = () => true,
  ): Promise<Accepted> {
    const wanted = ranges.map((range) => ({ owner: `${FORWARD_MARK}${formatPrefix(range)}`, range }));
    const isStale = (owner: string) =>
      owner.startsWith(FORWARD_MARK) && !wanted.some((accepted) => accepted.owner === owner);
    const sent: Request[] = [];
    const blocked: NetlinkError[] = [];
    const done = new Set<string>();
    let seen = await this.#lookAtForwarding();
    for (let attempt = 1; ; ) {
      const table = seen.chains.find((chain) => !done.has(tableOf(chain)));
      if (table === undefined) return { sent, blocked };
      const except = (chain: ChainPlace) => tableOf(chain) !== tableOf(table);
      const rules = seen.rules.filter((rule) => !except(rule));
      const requests = [
        ...forgetRanges({ ...seen, rules }, isStale),
        ...acceptForwardedRanges(seen, wanted, { ...FORWARD_OPTIONS, except }),
      ];
      try {
        if (requests.length > 0 && isAllowed(requests)) {
          await this.#nftables.commit(requests);
          sent.push(...requests);
        }
        done.add(tableOf(table));
      } catch (error) {
        if (isNetlinkError(error, "EPERM")) {
          blocked.push(error);
          done.add(tableOf(table));
        } else if (attempt++ === ATTEMPTS || !isNetlinkError(error, "EEXIST", "ENOENT", "ERESTART")) {
          throw error;
        }
        // Another program may have committed first, so the chains must be read again.
        seen = await this.#lookAtForwarding();
      }
    }
  }

  #lookAtForwarding(): Promise<NftRuleset> {
    return answeredBy(this.#nftables, forwardingLook(FORWARD_OPTIONS, { bases: this.#bases }));
  }
}

function tableOf({ family, table }: ChainPlace): string {
  return `${family} ${table}`;
}
