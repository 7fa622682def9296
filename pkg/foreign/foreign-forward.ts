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
import type { Address, Family } from "../ip/address.ts";
import type { Prefix } from "../ip/prefix.ts";
import type { Request } from "../netlink/message.ts";
import { NFPROTO } from "../netlink/nftables.ts";
import { meaningOf } from "../nft/comparison.ts";
import { accept, counter, matchFamily, matchPrefix } from "../nft/expressions.ts";
import {
  answered,
  type ChainPlace,
  chainRequest,
  deleteRule,
  type ForeignChain,
  type ForeignRule,
  type ForeignRuleset,
  isSameChain,
  isUnconditional,
  type Look,
  type Read,
  readChains,
  readRules,
  readTables,
  rulesDump,
  type TablePlace,
  tablesDump,
  verdictOf,
} from "../nft/ruleset.ts";
import { BaseChains } from "./base-chains.ts";
import {
  acceptAddress,
  addForward,
  addPrivateChain,
  CHAIN_MARK,
  ISOLATION_CHAINS,
  isSeenWhole,
  lacksForward,
  newForward,
  removeIsolation,
  removePrivateChain,
} from "./cni-forward.ts";
import {
  addRule,
  Forwarding,
  IPTABLES_TABLES,
  isFilterTable,
  isForward,
  isIpTable,
  isIptablesChain,
  isPrivate,
  isThere,
  leadsTo,
  PRIVATE_CHAIN,
  type WantedRule,
  withoutComment,
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

/** How many chains are read at most: one that is longer on its way to a drop is not known as one that drops. */
const CHAINS = 64;

/** What a look leaves out. */
export interface Depth {
  /**
   * Of iptables' filter tables FORWARD alone is read, not what it leads to. CNI-FORWARD holds two rules for each address
   * of the node, so reading it costs more with each pod.
   */
  readonly isShallow?: boolean;
  /** What earlier looks have found, for a program that hears of new base chains. [nothing: all chains are dumped] */
  readonly bases?: BaseChains;
}

/**
 * The chains where forwarded packets go, then the rules that decide, chain by chain. iptables' chains are asked for by
 * their names: its tables may hold thousands, and none of the others matters.
 */
export function lookAtForwarding(
  read: Read,
  options: Pick<ForwardOptions, "adminChain">,
  depth?: Depth,
): ForeignRuleset {
  return answered(forwardingLook(options, depth), read);
}

/** The same for those who wait for the kernel's answers: yields questions, takes the answers to them all. */
export function* forwardingLook(
  { adminChain }: Pick<ForwardOptions, "adminChain">,
  { isShallow = false, bases = new BaseChains() }: Depth = {},
): Look<ForeignRuleset> {
  const tables = readTables(yield [tablesDump()]).filter(isIpTable);
  const named = tables
    .filter(({ family, table }) => family !== NFPROTO.inet && IPTABLES_TABLES.has(table))
    .flatMap(({ family, table }): ChainPlace[] => [
      { family, table, chain: "FORWARD" },
      ...(table === "filter" ? [PRIVATE_CHAIN, adminChain].map((chain) => ({ family, table, chain })) : []),
    ]);
  const chains = readChains(yield named.map(chainRequest));
  const isKnown = (place: ChainPlace) => chains.some((chain) => isSameChain(chain, place));
  const others = new Set(tables.filter((table) => !isOfIptables(table, chains)).map(({ family }) => family));
  chains.push(...(yield* bases.look(others)).filter((base) => !isKnown(base)));
  const isRead = (place: ChainPlace) => !isShallow || !isFilterTable(place) || place.chain === "FORWARD";
  const rules: ForeignRule[] = [];
  let open = chains.filter((chain) => (isForward(chain) || isPrivate(chain)) && isRead(chain));
  for (const asked: ChainPlace[] = []; open.length > 0 && asked.length < CHAINS; ) {
    asked.push(...open);
    const found = readRules(yield open.map(rulesDump));
    rules.push(...found);
    const targets = targetsOf(found, open)
      .filter(isRead)
      .filter((target) => !asked.some((place) => isSameChain(place, target)));
    chains.push(...readChains(yield targets.filter((target) => !isKnown(target)).map(chainRequest)));
    open = chains.filter((chain) => targets.some((target) => isSameChain(target, chain)));
  }
  return { tables, chains, rules };
}

/** Where no forward chain has any other name than FORWARD; what else calls its table "filter" has no such chain. */
function isOfIptables({ family, table }: TablePlace, known: readonly ForeignChain[]): boolean {
  if (family === NFPROTO.inet) return false;
  if (table !== "filter") return IPTABLES_TABLES.has(table) || table === "nat" || table === "raw";
  return known.some((chain) => chain.family === family && chain.table === table && chain.chain === "FORWARD");
}

/** Where rules without conditions lead from these chains. */
function targetsOf(rules: readonly ForeignRule[], chains: readonly ChainPlace[]): ChainPlace[] {
  return rules
    .filter((rule) => isUnconditional(rule) && chains.some((chain) => isSameChain(chain, rule)))
    .flatMap((rule) => {
      const { family, table } = rule;
      const chain = verdictOf(rule)?.chain;
      return chain === undefined ? [] : [{ family, table, chain }];
    });
}

/**
 * What has to be added for these pods, in one transaction; nothing where all of it is there. `seen` is what
 * `lookAtForwarding` saw; a shallow look needs the head of CNI-FORWARD beside it, and those of the pods' rules that are
 * known to be there. EEXIST or ENOENT: the chains have changed since the look. The kernel echoes the rules that go into
 * CNI-FORWARD, with their handles.
 */
export function acceptForwarded(
  seen: ForeignRuleset,
  pods: readonly ForwardedPod[],
  options: ForwardOptions,
): Request[] {
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
  seen: ForeignRuleset,
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
export function forgetRanges({ rules }: ForeignRuleset, isStale: (owner: string) => boolean): Request[] {
  return rules.filter(({ comment }) => comment !== undefined && isStale(comment)).map(deleteRule);
}

/** `rulesFor` tells what accepts in a chain, at its head or at its end. */
function acceptBy(
  seen: ForeignRuleset,
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
function unbornForwards(
  forwarding: Forwarding,
  families: ReadonlySet<Family>,
  options: ForwardOptions,
): ForeignChain[] {
  const isMade = (place: TablePlace) =>
    options.inFilter === "always" ? options.makesTables === true : isAskedAnyway(forwarding, place, options);
  return [...families]
    .map((family) => ({ family: family === 4 ? NFPROTO.ip : NFPROTO.ip6, table: "filter" }))
    .filter((place) => isMade(place) && lacksForward(forwarding, place.family))
    .map(newForward)
    .filter((forward) => options.except?.(forward) !== true);
}

function isOfFamily({ family }: ChainPlace, address: Family): boolean {
  return family === NFPROTO.inet || family === (address === 4 ? NFPROTO.ip : NFPROTO.ip6);
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
    statements: [...family, matchPrefix(side, range), counter, accept],
  }));
}

/** CNI-FORWARD in the filter table of iptables or ip6tables. */
export function privateChainOf(family: Family): ChainPlace {
  return { family: family === 4 ? NFPROTO.ip : NFPROTO.ip6, table: "filter", chain: PRIVATE_CHAIN };
}

/** Those of `rules` in CNI-FORWARD that let `address` through, in the order of `acceptAddress`, whatever their comments. */
export function rulesOfAddress(rules: readonly ForeignRule[], address: Address): ForeignRule[] {
  const place = privateChainOf(address.family);
  const own = rules.filter((rule) => isSameChain(rule, place));
  return meaningsOf(place, [address]).flatMap(
    (meaning) => own.find((rule) => meaningOf(withoutComment(rule)) === meaning) ?? [],
  );
}

function meaningsOf(place: ChainPlace, addresses: readonly Address[]): string[] {
  return addresses
    .filter(({ family }) => isOfFamily(place, family))
    .flatMap((address) => acceptAddress(place, address))
    .map((statements) => meaningOf(statements.flatMap(({ expressions }) => expressions)));
}

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
  seen: ForeignRuleset,
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
export function isAbandoned(chain: ForeignChain): boolean {
  return isPrivate(chain) && chain.comment === CHAIN_MARK && chain.use <= STRUCTURE;
}

/** As `lookAtForwarding`, with the reference plugin's chains that it does not need. */
export function lookAtReference(read: Read, options: ForwardOptions): ForeignRuleset {
  const { tables, chains, rules } = lookAtForwarding(read, options);
  const places = chains.filter(isPrivate).flatMap((own) => ISOLATION_CHAINS.map((chain) => ({ ...own, chain })));
  const isIn = (list: readonly ChainPlace[]) => (place: ChainPlace) => list.some((one) => isSameChain(one, place));
  const unknown = places.filter((place) => !isIn(chains)(place));
  const unread = places.filter((place) => !isIn(rules)(place));
  return {
    tables,
    chains: [...chains, ...readChains(read(unknown.map(chainRequest)))],
    rules: [...rules, ...readRules(read(unread.map(rulesDump)))],
  };
}

/** The rules of the reference plugin's first isolation chain; one question each where there is none. */
export function isolationDumps(): Request[] {
  return [NFPROTO.ip, NFPROTO.ip6].map((family) => rulesDump({ family, table: "filter", chain: ISOLATION_CHAINS[0] }));
}

/**
 * Takes away what the reference plugin left for these addresses, whose rules carry no mark, and with the last of its pods
 * the chains that it made. `seen` is what `lookAtReference` saw; `ours` are the addresses of pods that weft attached,
 * whose rules look the same.
 */
export function forgetReference(
  seen: ForeignRuleset,
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
    const isOurs = (rule: ForeignRule) => rule.comment !== undefined || known.has(meaningOf(rule.expressions));
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
