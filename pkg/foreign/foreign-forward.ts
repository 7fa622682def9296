/**
 * Pods' traffic in other programs' forward chains. An accept in a table of ours does not undo their drop, so rules that
 * accept a pod's traffic go into those chains: one for each direction of each address.
 *
 * - iptables' filter tables (on nf_tables) get the reference plugin's chains (`cni-forward.ts`) where FORWARD drops or an
 *   administrator's chain exists; on request always, as by the reference plugin: a FORWARD that begins to drop later, and
 *   an administrator's chain that is filled later, then find the pods' rules in place.
 * - Any other chain that drops what no rule knows (its policy, or a last rule without conditions) gets the rules at its
 *   head, with the owner's mark as comment.
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

/** Whose traffic is accepted, under which mark. */
export interface ForwardedPod {
  readonly owner: string;
  readonly addresses: readonly Address[];
}

/** All traffic from and to a range is accepted: of its pods anybody may open a connection to any other. */
export interface ForwardedRange {
  readonly owner: string;
  readonly range: Prefix;
}

export interface ForwardOptions {
  /** The chain that is asked before pods' traffic is accepted, in the filter tables of iptables. */
  readonly adminChain: string;
  /** Tables left alone: firewalld's, where firewalld itself accepts the pod. */
  readonly except?: (chain: ChainPlace) => boolean;
  /**
   * When iptables' filter tables get the rules: always; where FORWARD drops or an administrator's chain exists; only where
   * FORWARD drops. ["asked"]
   */
  readonly inFilter?: "always" | "asked" | "dropping" | undefined;
  /** With "always", iptables' filter tables are made where they are missing. [false] */
  readonly makesTables?: boolean;
}

/** weftd's, and the plugin `firewall`'s where its configuration names no other chain. */
export const FORWARD_OPTIONS = { adminChain: DEFAULT_ADMIN_CHAIN } as const satisfies ForwardOptions;

/**
 * What has to be added for these pods, in one transaction; nothing where all of it is there. `seen` is what
 * `lookAtForwarding` saw; a shallow look needs the head of CNI-FORWARD beside it, and those of the pods' rules that are
 * known to be there. EEXIST or ENOENT: the chains have changed since the look. The kernel echoes the rules that go into
 * CNI-FORWARD, with their handles.
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

/** The same for whole ranges. */
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

/** Takes out again what `acceptForwardedRanges` has put in under marks that `isStale` names. */
export function forgetRanges({ rules }: NftRuleset, isStale: (owner: string) => boolean): Request[] {
  return rules.filter(({ comment }) => comment !== undefined && isStale(comment)).map(deleteRule);
}

/** `rulesFor` tells what accepts in a chain, at its head or at its end. */
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
    // Each that goes to the head stands before the one that went there last.
    requests.push(...(isFilter ? missing : missing.reverse()).map(addRule));
  }
  return requests;
}

/** Whether FORWARD in this filter table gets the rules though it does not drop. */
function isAskedAnyway(forwarding: Forwarding, base: TablePlace, options: ForwardOptions): boolean {
  if (options.inFilter === "always") return true;
  const hasAdmin = forwarding.find({ ...base, chain: options.adminChain }) !== undefined;
  return options.inFilter !== "dropping" && hasAdmin;
}

/** iptables-nft makes its base chains only when a rule needs them: an administrator's chain may be there without. */
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
    // Not a set: iptables-save and iptables-restore turn a rule with a set into one without any condition. And iptables-nft 1.8.9
    // neither shows nor saves a table in which it finds `ct state` ("incompatible, use nft tool").
    statements: [...family, matchPrefix(side, range), counter, accept],
  }));
}
