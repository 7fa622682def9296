/** The netlink side of restoring pods' rules. */
import type { BaseChains } from "../../../pkg/foreign/base-chains.ts";
import type { Address } from "../../../pkg/ip/address.ts";
import { linkDump, parseLink } from "../../../pkg/kernel/link.ts";
import type { EventedNetlink } from "../../../pkg/netlink/evented.ts";
import type { Message, Request } from "../../../pkg/netlink/message.ts";
import { hostEndNames } from "../../../pkg/reconcile/routed-pods.ts";
import { podForwardingLook, type SeenForwarding } from "../../../pkg/tables/pod-forwarding.ts";
import { type PodTables, podRulesLook, podTablesLook, type SeenPodRules } from "../../../pkg/tables/pod-rules.ts";
import { answeredBy } from "../../core/drivers/ruleset.ts";
import type { PodRulesKernel } from "./pod-rules.ts";

export class NetlinkPodRules implements PodRulesKernel {
  readonly #netlink: Pick<EventedNetlink, "dump">;
  readonly #nftables: Pick<EventedNetlink, "dump" | "exchange" | "commit">;

  readonly #bases: BaseChains;

  /** `bases` receives the base chains that other programs add. */
  constructor(
    netlink: Pick<EventedNetlink, "dump">,
    nftables: Pick<EventedNetlink, "dump" | "exchange" | "commit">,
    bases: BaseChains,
  ) {
    this.#netlink = netlink;
    this.#nftables = nftables;
    this.#bases = bases;
  }

  tables(): Promise<PodTables> {
    return answeredBy(this.#nftables, podTablesLook());
  }

  look(): Promise<SeenPodRules> {
    return answeredBy(this.#nftables, podRulesLook());
  }

  lookAtForwarding(adminChain: string, addresses: readonly Address[]): Promise<SeenForwarding> {
    return answeredBy(this.#nftables, podForwardingLook(adminChain, addresses, { bases: this.#bases }));
  }

  async hostEnds(): Promise<ReadonlyMap<string, string>> {
    return hostEndNames((await this.#netlink.dump(linkDump())).map(parseLink));
  }

  commit(requests: readonly Request[], generation: number | undefined): Promise<readonly Message[]> {
    return this.#nftables.commit(requests, generation);
  }
}
