/**
 * Other programs' base chains for forwarded packets, remembered between reads. nf_tables lists base chains only among
 * all chains of a family, and a cluster's Services are thousands of chains (kube-proxy's mode `nftables`). But it sends
 * a notification for each new base chain (NFNLGRP_NFTABLES). So one dump of a family is enough until notifications are
 * lost.
 *
 * The kernel can also list its hooks (NFNL_SUBSYS_HOOK), but only since 5.14, and only with
 * CONFIG_NETFILTER_NETLINK_HOOK.
 */
import type { Look } from "../netlink/look.ts";
import {
  baseChainsDump,
  type ChainPlace,
  chainRequest,
  isBaseChain,
  type NftChain,
  placeText,
  readChains,
} from "../nft/ruleset.ts";
import { isForward } from "./forward-chains.ts";

export class BaseChains {
  /**
   * Known chains by their text. Some may have been removed: they are read by name, and forgotten if the kernel has
   * none.
   */
  readonly #places = new Map<string, ChainPlace>();
  /** The families whose base chains are all in `#places`. */
  #families = new Set<number>();

  /** Records chains, base chains or others, that the kernel reported as added or changed. */
  announced(chains: readonly NftChain[]): void {
    for (const chain of chains.filter(isForward)) this.#places.set(placeText(chain), chain);
  }

  /** Notifications were lost: the next read dumps all chains. */
  forget(): void {
    // The result of a dump that is still running must not count either.
    this.#families = new Set();
  }

  /**
   * Returns the base chains for forwarded packets in tables of these families. Dumps a family's chains only the first
   * time.
   */
  *look(families: ReadonlySet<number>): Look<NftChain[]> {
    // With a dump each time, repairs among 10,000 chains of kube-proxy took 1.6 to 8 times as long, mostly because of the
    // pause after a dump that found nothing. Now they take at most 1.4 times as long (test/live/foreign-chains).
    const complete = this.#families;
    const dumped = [...families].filter((family) => !complete.has(family));
    const asked = [...this.#places].filter(([, { family }]) => families.has(family) && complete.has(family));
    const seen = yield [...dumped.map(baseChainsDump), ...asked.map(([, place]) => chainRequest(place))];
    const chains = readChains(seen.filter(isBaseChain)).filter(isForward);
    const found = new Set(chains.map(placeText));
    // Keeps a chain that was announced meanwhile.
    for (const [text, place] of asked)
      if (!found.has(text) && this.#places.get(text) === place) this.#places.delete(text);
    for (const chain of chains) this.#places.set(placeText(chain), chain);
    for (const family of dumped) complete.add(family);
    return chains;
  }
}
