/** What is read from the kernel and sent to it, with every refusal reported. */

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

/** Some requests were refused; the others were carried out. What this node needs for itself is among them. */
export class RefusedError extends AggregateError {
  constructor(refusals: readonly NetlinkError[]) {
    const [first] = refusals;
    const others = refusals.length > 1 ? ` (and ${refusals.length - 1} more)` : "";
    super(refusals, `the kernel refused: ${first?.message}${others}`);
    this.name = "RefusedError";
  }
}

/** Only requests about single peers were refused: this node serves its pods, and reaches the others. */
export class PeerRefusedError extends RefusedError {
  constructor(refusals: readonly NetlinkError[]) {
    super(refusals);
    this.name = "PeerRefusedError";
  }
}

/** What was sent, and what the kernel would not do of it. */
export interface Sent {
  readonly requests: readonly Request[];
  readonly refusals: readonly NetlinkError[];
}

/** What became of other programs' forward chains. */
export interface Accepted {
  readonly sent: readonly Request[];
  /** Refusals of tables whose owners keep others out. */
  readonly blocked: readonly NetlinkError[];
}

const ATTEMPTS = 5;

export class Programmer {
  readonly #netlink: Pick<EventedNetlink, "dump" | "exchange">;
  readonly #nftables: Pick<EventedNetlink, "dump" | "exchange" | "commit">;
  readonly #bases: BaseChains;
  readonly #onSend: () => void;

  /**
   * `bases` hears of the base chains that other programs add. `onSend` is called before and after rtnetlink requests are
   * sent: what was dumped before is out of date.
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

  /** Has the kernel answer for `addresses` of `family` on the link `index`, in place of their hosts, and for no others. */
  async answerFor(index: number, family: Family, addresses: readonly Address[]): Promise<Sent> {
    const held = (await this.#netlink.dump(proxyDump(family))).flatMap((message) => parseProxy(message) ?? []);
    const requests = planProxies(index, addresses, held);
    const refusals = requests.length === 0 ? [] : await this.send(requests);
    return { requests, refusals: refusals.filter((error) => !isGone(error) && !isExists(error)) };
  }

  /** Sends requests in order; returns what was refused. What was to be removed and is gone already counts as removed. */
  async send(requests: readonly Request[]): Promise<readonly NetlinkError[]> {
    this.#onSend();
    // Many requests are several datagrams, and a dump may come between them.
    const replies = await this.#netlink.exchange(requests).finally(this.#onSend);
    return replies.flatMap(({ request, error }) =>
      error === undefined || (isGone(error) && request.identifier.startsWith("RTM_DEL")) ? [] : [error],
    );
  }

  /** One nftables transaction. Throws `NetlinkError`. */
  async commit(requests: readonly Request[]): Promise<void> {
    await this.#nftables.commit(requests);
  }

  /**
   * Makes the kernel hold exactly `table`, in one transaction; false when it did already. `isAllowed` is asked before a
   * change: false where that is not to be.
   */
  async replaceTable(table: Table, isAllowed: () => boolean = () => true): Promise<boolean> {
    const held = await readRuleset(this.#nftables, tableQuestions(table));
    const requests = changeTable(table, held);
    if (requests.length === 0 || !isAllowed()) return false;
    await this.#nftables.commit(requests);
    return true;
  }

  /**
   * Has traffic from and to `ranges` accepted in other programs' forward chains that would drop it, and nothing else that
   * an earlier call has had accepted. `isAllowed` is asked before a change. A table that its owner lets nobody else change
   * (NFT_TABLE_F_OWNER) does not keep the others from being changed. Throws `NetlinkError`.
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
        // Somebody may have been faster: what is there now has to be looked at.
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
