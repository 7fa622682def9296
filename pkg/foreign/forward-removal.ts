/**
 * The inverse of `foreign-forward.ts`: removes pods' rules from other programs' forward chains, and with the last rule
 * the chains that were created for them. Pure.
 */
import { CHAIN_MARK } from "../footprint.ts";
import type { Address } from "../ip/address.ts";
import type { Request } from "../netlink/message.ts";
import { meaningOf } from "../nft/meaning.ts";
import {
  type ChainPlace,
  deleteRule,
  isSameChain,
  type NftChain,
  type NftRule,
  type NftRuleset,
} from "../nft/ruleset.ts";
import { isSeenWhole, meaningsOf, removeIsolation, removePrivateChain } from "./cni-forward.ts";
import type { ForwardOptions } from "./foreign-forward.ts";
import { Forwarding, isForward, isPrivate, leadsTo } from "./forward-chains.ts";

/** The result of `forgetForwarded`. */
export interface Forgetting {
  readonly requests: readonly Request[];
  /**
   * True if chains are removed with the last rule in them. This is only correct if nothing has changed since the read.
   */
  readonly needsGeneration: boolean;
  /**
   * True if CNI-FORWARD has no other rules for pods according to its use count. A shallow read does not show which
   * chains can be removed.
   */
  readonly isLast: boolean;
}

export interface Forgotten {
  /** Selects rules by comment. */
  readonly isWanted: (owner: string) => boolean;
  /** In CNI-FORWARD, rules without a comment that accept these addresses are removed, too. */
  readonly addresses: readonly Address[];
}

/**
 * Removes these rules and, with the last of them in iptables' filter table, the chains that led to them. The
 * administrator's chain is kept if the administrator created or filled it.
 */
export function forgetForwarded(
  seen: NftRuleset,
  { isWanted, addresses }: Forgotten,
  { adminChain }: Pick<ForwardOptions, "adminChain">,
): Forgetting {
  const forwarding = new Forwarding(seen);
  const places = forwarding.chains.filter((chain) => isForward(chain) || isPrivate(chain));
  const rules = new Set(
    places.flatMap((place) => {
      const meanings = isPrivate(place) ? new Set(meaningsOf(place, addresses)) : undefined;
      return forwarding.rulesOf(place).filter((rule) => {
        const { comment } = rule;
        return comment === undefined ? meanings?.has(meaningOf(rule.expressions)) : isWanted(comment);
      });
    }),
  );
  const own = places.filter(isPrivate);
  const emptied = own.filter((place) => {
    const all = forwarding.rulesOf(place);
    const left = all.filter((rule) => !rules.has(rule));
    // If two pods leave at once, each call still sees the other's rules. A second read then finds a chain of weft
    // without pods.
    const isLeft = left.length < all.length || place.comment === CHAIN_MARK;
    return isLeft && isSeenWhole(forwarding, place) && left.every((rule) => leadsTo(rule, adminChain));
  });
  const chains = emptied.flatMap((place) => removePrivateChain(forwarding, seen.tables, place, adminChain));
  const removed = (place: ChainPlace) => [...rules].filter((rule) => isSameChain(rule, place)).length;
  return {
    requests: [...[...rules].map(deleteRule), ...chains],
    needsGeneration: chains.length > 0,
    isLast: own.some(
      (place) => !emptied.includes(place) && removed(place) > 0 && place.use - removed(place) <= STRUCTURE,
    ),
  };
}

/** The use count of a CNI-FORWARD without pods: the jump to it, and the jump to the administrator's chain. */
const STRUCTURE = 2;

/** True for a CNI-FORWARD of weft that has no rules of pods, according to its use count. */
export function isAbandoned(chain: NftChain): boolean {
  return isPrivate(chain) && chain.comment === CHAIN_MARK && chain.use <= STRUCTURE;
}

/**
 * Removes the reference plugin's rules for these addresses, which have no mark, and with the last of its pods its
 * chains. `seen` is the result of `lookAtReference`. `ours` are the addresses of pods that weft attached, whose rules
 * look the same.
 */
export function forgetReference(
  seen: NftRuleset,
  addresses: readonly Address[],
  ours: readonly Address[],
  { adminChain }: ForwardOptions,
): Forgetting {
  const forwarding = new Forwarding(seen);
  const plans = forwarding.chains.filter(isPrivate).map((own) => {
    const theirs = new Set(meaningsOf(own, addresses));
    const known = new Set(meaningsOf(own, ours));
    const all = forwarding.rulesOf(own);
    const rules = all.filter((rule) => rule.comment === undefined && theirs.has(meaningOf(rule.expressions)));
    const left = all.filter((rule) => !rules.includes(rule) && !leadsTo(rule, adminChain));
    if (rules.length === 0) return [];
    const isOurs = (rule: NftRule) => rule.comment !== undefined || known.has(meaningOf(rule.expressions));
    return [
      rules.map(deleteRule),
      left.every(isOurs) ? removeIsolation(forwarding, own) : [],
      left.length === 0 ? removePrivateChain(forwarding, seen.tables, own, adminChain) : [],
    ];
  });
  return {
    requests: plans.flat(2),
    needsGeneration: plans.some(([, isolation = [], chains = []]) => isolation.length + chains.length > 0),
    isLast: false,
  };
}
