/**
 * The way back of `foreign-forward.ts`: rules of pods are taken out of other programs' forward chains, and with the last of
 * them the chains that were made for them. Pure.
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

/** What `forgetForwarded` sends. */
export interface Forgetting {
  readonly requests: readonly Request[];
  /** Chains go with the last rule in them: only right while nothing has changed since the look. */
  readonly needsGeneration: boolean;
  /** CNI-FORWARD holds nothing else for pods, as far as its use tells: a shallow look does not see which chains can go. */
  readonly isLast: boolean;
}

export interface Forgotten {
  /** Rules with such a comment. */
  readonly isWanted: (owner: string) => boolean;
  /** In CNI-FORWARD also the rules without a comment that let these addresses through. */
  readonly addresses: readonly Address[];
}

/**
 * Takes these rules out again, and with the last of them in iptables' filter table the chains that led there. The
 * administrator's chain stays where the administrator made it, or has filled it.
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
    // Of two that leave at once each sees the other: a second look finds a chain of weft's with no pod in it.
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

/** The uses of a CNI-FORWARD without pods: the rule that leads to it, and the one that leads to the administrator's. */
const STRUCTURE = 2;

/** True for a CNI-FORWARD of weft's that holds no pod's rules, by its count of uses. */
export function isAbandoned(chain: NftChain): boolean {
  return isPrivate(chain) && chain.comment === CHAIN_MARK && chain.use <= STRUCTURE;
}

/**
 * Takes away what the reference plugin left for these addresses, whose rules carry no mark, and with the last of its pods
 * the chains that it made. `seen` is what `lookAtReference` saw; `ours` are the addresses of pods that weft attached,
 * whose rules look the same.
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
