/**
 * Other programs' base chains for forwarded packets, remembered from one look to the next. nf_tables lists base chains only
 * among all chains of a family, and a cluster's Services are thousands of them (kube-proxy's mode `nftables`); but it
 * announces each base chain that is added (NFNLGRP_NFTABLES). So one dump of a family is enough, until announcements are lost.
 *
 * The kernel also lists its hooks (NFNL_SUBSYS_HOOK), but only since 5.14, and only with CONFIG_NETFILTER_NETLINK_HOOK.
 */
import type { Look } from "../netlink/look.ts";
import {
  type ChainPlace,
  chainRequest,
  chainsDump,
  isBaseChain,
  type NftChain,
  placeText,
  readChains,
} from "../nft/ruleset.ts";
import { isForward } from "./forward-chains.ts";

export class BaseChains {
  /** By their text. Some may be gone: they are asked for by name, and forgotten when the kernel has none. */
  readonly #places = new Map<string, ChainPlace>();
  /** Families of which all base chains are among `#places`. */
  #families = new Set<number>();

  /** The kernel announces chains that were added or changed: base chains or others. */
  announced(chains: readonly NftChain[]): void {
    for (const chain of chains.filter(isForward)) this.#places.set(placeText(chain), chain);
  }

  /** Announcements were lost: the next look dumps all chains. */
  forget(): void {
    // A dump on its way counts for nothing, either.
    this.#families = new Set();
  }

  /** The base chains for forwarded packets in tables of these families. Dumps a family's chains only the first time. */
  *look(families: ReadonlySet<number>): Look<NftChain[]> {
    // With a dump each time, repairs took 1.6 to 8 times as long among 10,000 chains of kube-proxy, most of it the pause after a
    // dump in vain; now at most 1.4 times (test/live/foreign-chains).
    const complete = this.#families;
    const dumped = [...families].filter((family) => !complete.has(family));
    const asked = [...this.#places].filter(([, { family }]) => families.has(family) && complete.has(family));
    const seen = yield [...dumped.map(chainsDump), ...asked.map(([, place]) => chainRequest(place))];
    const chains = readChains(seen.filter(isBaseChain)).filter(isForward);
    const found = new Set(chains.map(placeText));
    // One that was announced meanwhile stays.
    for (const [text, place] of asked)
      if (!found.has(text) && this.#places.get(text) === place) this.#places.delete(text);
    for (const chain of chains) this.#places.set(placeText(chain), chain);
    for (const family of dumped) complete.add(family);
    return chains;
  }
}
