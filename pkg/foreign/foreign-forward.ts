/**
 * Accepts pods' traffic in other programs' forward chains. An accept in weft's own table does not override their drop,
 * so the rules are added to these chains: one for each direction of each address.
 *
 * - iptables' filter tables (on nf_tables) get the reference plugin's chains (`cni-forward.ts`) if FORWARD drops or an
 *   administrator's chain exists. They can be added always, as by the reference plugin: if FORWARD begins to drop
 *   later,
 *   or an administrator's chain is filled later, the pods' rules are then already there.
 * - Any other chain that drops packets that match no rule (by its policy or by a last rule without conditions) gets the
 *   rules at its head, with the owner's mark as comment.
 */
import { DEFAULT_ADMIN_CHAIN, PRIVATE_CHAIN } from "../footprint.ts";
import type { Address, Family } from "../ip/address.ts";
import type { Prefix } from "../ip/prefix.ts";
import type { Request } from "../netlink/message.ts";
import { NFPROTO } from "../netlink/nftables.ts";
import { accept, counter, matchFamily, matchPrefix } from "../nft/expressions.ts";
import { type ChainPlace, deleteRule, type NftChain, type NftRuleset, type TablePlace } from "../nft/ruleset.ts";
import { acceptAddress, addForward, addPrivateChain, lacksForward, newForward } from "./cni-forward.ts";
import {
  addRule,
  Forwarding,
  isForward,
  isIptablesChain,
  isOfFamily,
  isPrivate,
  isThere,
  type WantedRule,
} from "./forward-chains.ts";

/** A pod whose traffic is accepted, and the mark of its rules. */
export interface ForwardedPod {
  readonly owner: string;
  readonly addresses: readonly Address[];
}

/** A range from and to which all traffic is accepted: any host may open connections to its pods. */
export interface ForwardedRange {
  readonly owner: string;
  readonly range: Prefix;
}

export interface ForwardOptions {
  /** The chain in iptables' filter tables that is evaluated before pods' traffic is accepted. */
  readonly adminChain: string;
  /** Tables to leave alone: firewalld's, if firewalld itself accepts the pod. */
  readonly except?: (chain: ChainPlace) => boolean;
  /**
   * When iptables' filter tables get the rules. "always"; "asked": if FORWARD drops or an administrator's chain exists;
   * "dropping": only if FORWARD drops. ["asked"]
   */
  readonly inFilter?: "always" | "asked" | "dropping" | undefined;
  /** With "always": creates missing filter tables of iptables. [false] */
  readonly makesTables?: boolean;
}

/** The options of weftd, and of the plugin `firewall` if its configuration names no other chain. */
export const FORWARD_OPTIONS = { adminChain: DEFAULT_ADMIN_CHAIN } as const satisfies ForwardOptions;

/**
 * Returns the requests to add for these pods, in one transaction; empty if all rules exist. `seen` is the result of
 * `lookAtForwarding`. A shallow read must be completed by the head of CNI-FORWARD and by those of the pods' rules that
 * are known to exist. EEXIST or ENOENT means that the chains have changed since the read. The kernel echoes rules in
 * CNI-FORWARD with their handles.
 */
export function acceptForwarded(seen: NftRuleset, pods: readonly ForwardedPod[], options: ForwardOptions): Request[] {
  const families = new Set(pods.flatMap(({ addresses }) => addresses.map(({ family }) => family)));
  return acceptBy(seen, families, options, (place, first) =>
    pods.flatMap(({ owner, addresses }) => {
      const own = addresses.filter(({ family }) => isOfFamily(place, family));
      return own.flatMap((address) => podRules(place, { address, owner }, first));
    }),
  );
}

/** The same for ranges. */
export function acceptForwardedRanges(
  seen: NftRuleset,
  ranges: readonly ForwardedRange[],
  options: ForwardOptions,
): Request[] {
  const families = new Set(ranges.map(({ range }) => range.address.family));
  return acceptBy(seen, families, options, (place, first) =>
    ranges.flatMap(({ owner, range }) =>
      isOfFamily(place, range.address.family) ? rangeRules(place, range, owner, first) : [],
    ),
  );
}

/** Removes rules that `acceptForwardedRanges` added under marks for which `isStale` is true. */
export function forgetRanges({ rules }: NftRuleset, isStale: (owner: string) => boolean): Request[] {
  return rules.filter(({ comment }) => comment !== undefined && isStale(comment)).map(deleteRule);
}

/** `rulesFor` returns the accepting rules for a chain, to be added at its head or at its end. */
function acceptBy(
  seen: NftRuleset,
  families: ReadonlySet<Family>,
  options: ForwardOptions,
  rulesFor: (place: ChainPlace, first: boolean) => readonly WantedRule[],
): Request[] {
  const forwarding = new Forwarding(seen);
  const unborn = unbornForwards(forwarding, families, options);
  const requests: Request[] = unborn.flatMap((forward) => addForward(forward, seen.tables));
  for (const base of [...forwarding.chains.filter(isForward), ...unborn]) {
    const isConcerned = [...families].some((family) => isOfFamily(base, family));
    if (options.except?.(base) === true || !isConcerned) continue;
    const isFilter = isIptablesChain(base) && base.table === "filter";
    if (!(isFilter && isAskedAnyway(forwarding, base, options)) && forwarding.fate(base) !== "dropped") continue;
    if (isFilter) requests.push(...addPrivateChain(forwarding, base, options.adminChain));
    const place = isFilter ? { ...base, chain: PRIVATE_CHAIN } : base;
    const missing = rulesFor(place, !isFilter).filter((rule) => !isThere(forwarding, rule));
    // Each rule that is inserted at the head precedes the one inserted before it.
    requests.push(...(isFilter ? missing : missing.reverse()).map(addRule));
  }
  return requests;
}

/** True if FORWARD in this filter table gets the rules even if it does not drop. */
function isAskedAnyway(forwarding: Forwarding, base: TablePlace, options: ForwardOptions): boolean {
  if (options.inFilter === "always") return true;
  const hasAdmin = forwarding.find({ ...base, chain: options.adminChain }) !== undefined;
  return options.inFilter !== "dropping" && hasAdmin;
}

/**
 * iptables-nft creates its base chains only when a rule needs them, so an administrator's chain may exist without
 * FORWARD.
 */
function unbornForwards(forwarding: Forwarding, families: ReadonlySet<Family>, options: ForwardOptions): NftChain[] {
  const isMade = (place: TablePlace) =>
    options.inFilter === "always" ? options.makesTables === true : isAskedAnyway(forwarding, place, options);
  return [...families]
    .map((family) => ({ family: family === 4 ? NFPROTO.ip : NFPROTO.ip6, table: "filter" }))
    .filter((place) => isMade(place) && lacksForward(forwarding, place.family))
    .map(newForward)
    .filter((forward) => options.except?.(forward) !== true);
}

/** In iptables' filter tables without a comment, as the reference plugin writes them: its CHECK and DEL find them. */
function podRules(place: ChainPlace, { address, owner }: { address: Address; owner: string }, first: boolean) {
  const isBare = isPrivate(place);
  const comment = isBare ? undefined : owner;
  return acceptAddress(place, address).map(
    (statements): WantedRule => ({ place, statements, comment, first, isEchoed: isBare }),
  );
}

function rangeRules(place: ChainPlace, range: Prefix, owner: string, first: boolean): WantedRule[] {
  const family = place.family === NFPROTO.inet ? [matchFamily(range.address.family)] : [];
  return (["daddr", "saddr"] as const).map((side) => ({
    ...{ place, comment: owner, first },
    // Not a set: iptables-save and iptables-restore turn a rule with a set into one without any condition. And
    // iptables-nft 1.8.9 neither shows nor saves a table in which it finds `ct state` ("incompatible, use nft tool").
    statements: [...family, matchPrefix(side, range), counter, accept],
  }));
}
