/**
 * Pods' traffic in other programs' forward chains. An accept in a table of ours does not undo their drop, so where such a
 * chain drops what no rule knows (its policy, or a last rule without conditions), rules that accept a pod's traffic go
 * into that chain: one for each direction of each address, with the owner's mark as comment.
 *
 * The tables of iptables (on nf_tables) get what iptables-nft itself would write, since it refuses to show or save a table
 * with anything else in it: no sets, and connection states by the xtables extension. There the rules stand where the
 * reference plugin puts them: FORWARD leads to CNI-FORWARD first, that to the administrator's chain first. An
 * administrator's chain that exists is asked before our rules even where nothing drops.
 */
import { type Address, type Family, formatAddress } from "../ip/address.ts";
import type { Prefix } from "../ip/prefix.ts";
import { type Message, NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL, type Request, request } from "../netlink/message.ts";
import { NF_INET_HOOK, NFPROTO, NFT_MSG_NEWCHAIN, NFT_MSG_NEWRULE, VERDICT } from "../netlink/nftables.ts";
import {
  type ChainPlace,
  chainRequest,
  chainsDump,
  deleteChain,
  deleteRule,
  type ForeignChain,
  type ForeignRule,
  type ForeignRuleset,
  isBaseChain,
  isSameChain,
  isUnconditional,
  placeText,
  type Read,
  readChains,
  readRules,
  readTables,
  rulesDump,
  type TablePlace,
  tablesDump,
  verdictOf,
} from "./foreign-rules.ts";
import { sameMeaning } from "./nft/comparison.ts";
import {
  accept,
  counter,
  jump,
  matchAddress,
  matchEstablished,
  matchFamily,
  matchPrefix,
  type Statement,
} from "./nft/expressions.ts";
import { commentUserdata } from "./nft/userdata.ts";

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
}

/** The reference plugin's chain, and its comments: either program finds what the other has made. */
const PRIVATE_CHAIN = "CNI-FORWARD";
const PRIVATE_COMMENT = "CNI firewall plugin rules";
const ADMIN_COMMENT = "CNI firewall plugin admin overrides";
/** On chains that we made, so that we remove them. */
const CHAIN_MARK = "weft";

/** iptables' tables with a chain FORWARD. */
const IPTABLES_TABLES: ReadonlySet<string> = new Set(["filter", "mangle", "security"]);

/** How deep rules without conditions are followed from chain to chain: the kernel's own limit (NFT_JUMP_STACK_SIZE). */
const DEPTH = 16;
/** How many chains are read at most: one that is longer on its way to a drop is not known as one that drops. */
const CHAINS = 64;

/**
 * The chains where forwarded packets go, then the rules that decide, chain by chain. iptables' chains are asked for by
 * their names: its tables may hold thousands, and none of the others matters.
 */
export function lookAtForwarding(read: Read, options: ForwardOptions): ForeignRuleset {
  const look = forwardingLook(options);
  for (let step = look.next(); ; step = look.next(read(step.value))) if (step.done === true) return step.value;
}

/** The same for those who wait for the kernel's answers: yields questions, takes the answers to them all. */
export function* forwardingLook({
  adminChain,
}: Pick<ForwardOptions, "adminChain">): Generator<readonly Request[], ForeignRuleset, readonly Message[]> {
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
  const bases = readChains((yield [...others].map(chainsDump)).filter(isBaseChain));
  chains.push(...bases.filter((base) => !isKnown(base)));
  const rules: ForeignRule[] = [];
  let open = chains.filter((chain) => isForward(chain) || isPrivate(chain));
  for (const asked: ChainPlace[] = []; open.length > 0 && asked.length < CHAINS; ) {
    asked.push(...open);
    const found = readRules(yield open.map(rulesDump));
    rules.push(...found);
    const targets = targetsOf(found, open).filter((target) => !asked.some((place) => isSameChain(place, target)));
    chains.push(...readChains(yield targets.filter((target) => !isKnown(target)).map(chainRequest)));
    open = chains.filter((chain) => targets.some((target) => isSameChain(target, chain)));
  }
  return { chains, rules };
}

function isIpTable({ family, table }: TablePlace): boolean {
  return (family === NFPROTO.inet || family === NFPROTO.ip || family === NFPROTO.ip6) && !isOurTable(table);
}

function isOurTable(table: string): boolean {
  return table === "weft" || table.startsWith("weft_");
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

/** Base chains of IP packets on their way through the node; those of our own tables are none of them. */
function isForward(chain: ForeignChain): boolean {
  return isIpTable(chain) && chain.hook === NF_INET_HOOK.forward;
}

function isPrivate({ family, table, chain }: ForeignChain): boolean {
  return (family === NFPROTO.ip || family === NFPROTO.ip6) && table === "filter" && chain === PRIVATE_CHAIN;
}

/** What iptables-nft shows: rules there are of its kind. */
function isIptablesChain({ family, table, chain }: ChainPlace): boolean {
  return family !== NFPROTO.inet && IPTABLES_TABLES.has(table) && (chain === "FORWARD" || chain === PRIVATE_CHAIN);
}

class Forwarding {
  readonly chains: readonly ForeignChain[];
  readonly rules: readonly ForeignRule[];

  constructor({ chains, rules }: ForeignRuleset) {
    this.chains = chains;
    this.rules = rules;
  }

  find(place: ChainPlace): ForeignChain | undefined {
    return this.chains.find((chain) => isSameChain(chain, place));
  }

  rulesOf(place: ChainPlace): ForeignRule[] {
    return this.rules.filter((rule) => isSameChain(rule, place));
  }

  /** True when a packet that no rule with conditions treats is dropped; undefined when it comes back to the caller. */
  fate(chain: ForeignChain, depth = 0): "dropped" | "accepted" | undefined {
    for (const rule of this.rulesOf(chain).filter(isUnconditional)) {
      const verdict = verdictOf(rule);
      if (verdict === undefined) continue;
      if (verdict.code === VERDICT.drop) return "dropped";
      if (verdict.code === VERDICT.accept) return "accepted";
      if (verdict.code === VERDICT.return) break;
      const target = this.find({ ...chain, chain: verdict.chain ?? "" });
      const inner = target === undefined || depth > DEPTH ? undefined : this.fate(target, depth + 1);
      if (inner !== undefined) return inner;
      if (verdict.code === VERDICT.goto) break;
    }
    if (chain.hook === undefined) return undefined;
    return chain.policy === VERDICT.drop ? "dropped" : "accepted";
  }
}

/** A rule that is to be there. */
interface WantedRule {
  readonly place: ChainPlace;
  readonly statements: readonly Statement[];
  readonly comment: string;
  /** At the chain's head, not at its end. */
  readonly first: boolean;
}

/**
 * What has to be added for these pods, in one transaction; nothing where all of it is there. `seen` is what
 * `lookAtForwarding` saw. EEXIST or ENOENT: somebody has changed the chains meanwhile.
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
      return podRules(place, { owner, addresses: own }, first);
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
  const requests: Request[] = [];
  const unborn = forwarding.chains
    .filter((chain) => options.except?.(chain) !== true && isUnaskedAdmin(forwarding, chain, options))
    .filter((chain) => [...families].some((family) => isOfFamily(chain, family)))
    .map(forwardOf);
  requests.push(...unborn.map(addForward));
  for (const base of [...forwarding.chains.filter(isForward), ...unborn]) {
    const isConcerned = [...families].some((family) => isOfFamily(base, family));
    if (options.except?.(base) === true || !isConcerned) continue;
    const hasAdmin = forwarding.find({ ...base, chain: options.adminChain }) !== undefined;
    const isFilter = isIptablesChain(base) && base.table === "filter";
    if (forwarding.fate(base) !== "dropped" && !(isFilter && hasAdmin)) continue;
    if (isFilter) requests.push(...privateChain(forwarding, base, options.adminChain));
    const place = isFilter ? { ...base, chain: PRIVATE_CHAIN } : base;
    const missing = rulesFor(place, !isFilter).filter((rule) => !isThere(forwarding, rule));
    // Each that goes to the head stands before the one that went there last.
    requests.push(...(isFilter ? missing : missing.reverse()).map(addRule));
  }
  return requests;
}

/** iptables-nft makes its base chains only when a rule needs them: an administrator's chain may be there without. */
function isUnaskedAdmin(forwarding: Forwarding, chain: ForeignChain, { adminChain }: ForwardOptions): boolean {
  const isIp = chain.family === NFPROTO.ip || chain.family === NFPROTO.ip6;
  const isAdmin = isIp && chain.table === "filter" && chain.chain === adminChain;
  return isAdmin && forwarding.find(forwardOf(chain)) === undefined;
}

function forwardOf(chain: ForeignChain): ForeignChain {
  const [hook, policy] = [NF_INET_HOOK.forward, VERDICT.accept];
  return { ...chain, chain: "FORWARD", hook, policy, comment: CHAIN_MARK, use: 0 };
}

/** As iptables-nft makes it. */
function addForward(place: ChainPlace): Request {
  return request(
    NFT_MSG_NEWCHAIN,
    `nft add chain ${placeText(place)} { type filter hook forward priority 0; policy accept; }`,
    { family: place.family },
    {
      table: place.table,
      name: place.chain,
      hook: { number: NF_INET_HOOK.forward, priority: 0 },
      policy: VERDICT.accept,
      type: "filter",
      userdata: commentUserdata(CHAIN_MARK),
    },
    NLM_F_CREATE | NLM_F_EXCL,
  );
}

function isOfFamily({ family }: ChainPlace, address: Family): boolean {
  return family === NFPROTO.inet || family === (address === 4 ? NFPROTO.ip : NFPROTO.ip6);
}

/** The reference plugin's structure: FORWARD -> CNI-FORWARD -> the administrator's chain. */
function privateChain(forwarding: Forwarding, base: ForeignChain, adminChain: string): Request[] {
  const own = { ...base, chain: PRIVATE_CHAIN };
  const admin = { ...base, chain: adminChain };
  const jumps: WantedRule[] = [
    { place: base, statements: [counter, jump(PRIVATE_CHAIN)], comment: PRIVATE_COMMENT, first: true },
    { place: own, statements: [counter, jump(adminChain)], comment: ADMIN_COMMENT, first: true },
  ];
  return [
    ...[own, admin].filter((place) => forwarding.find(place) === undefined).map(addChain),
    ...jumps.filter((rule) => !isThere(forwarding, rule)).map(addRule),
  ];
}

/** What the reference lets through: answers to the pod, and all that it sends. */
function podRules(place: ChainPlace, { owner, addresses }: ForwardedPod, first: boolean): WantedRule[] {
  const established = isIptablesChain(place) ? matchEstablishedByXtables : matchEstablished;
  return addresses.flatMap((address) => {
    const family = place.family === NFPROTO.inet ? [matchFamily(address.family)] : [];
    return [
      [...family, matchAddress("daddr", address), established, counter, accept],
      [...family, matchAddress("saddr", address), counter, accept],
    ].map((statements) => ({ place, statements, comment: owner, first }));
  });
}

function rangeRules(place: ChainPlace, range: Prefix, owner: string, first: boolean): WantedRule[] {
  const family = place.family === NFPROTO.inet ? [matchFamily(range.address.family)] : [];
  return (["daddr", "saddr"] as const).map((side) => ({
    ...{ place, comment: owner, first },
    statements: [...family, matchPrefix(side, range), counter, accept],
  }));
}

function isThere(forwarding: Forwarding, { place, statements, comment }: WantedRule): boolean {
  const wanted = statements.flatMap(({ expressions }) => expressions);
  return forwarding
    .rulesOf(place)
    .some((rule) => rule.comment === comment && sameMeaning(withoutComment(rule), wanted));
}

/** After iptables-save and iptables-restore the comment is an expression among the others. */
function withoutComment({ expressions }: ForeignRule): ForeignRule["expressions"] {
  return expressions.filter((expression) => !(expression.kind === "match" && expression.data?.name === "comment"));
}

/** struct xt_conntrack_mtinfo3 (include/uapi/linux/netfilter/xt_conntrack.h), padded to eight bytes. */
const CONNTRACK_SIZE = 168;
const MATCH_FLAGS_OFFSET = 146;
const STATE_MASK_OFFSET = 150;
const XT_CONNTRACK_STATE = 1;
/** XT_CONNTRACK_STATE_BIT of IP_CT_ESTABLISHED and IP_CT_RELATED. */
const ESTABLISHED_OR_RELATED = 2 | 4;

/** `-m conntrack --ctstate RELATED,ESTABLISHED`: nft shows it as the connection's state, too. */
const matchEstablishedByXtables: Statement = {
  text: "ct state established,related",
  expressions: [{ kind: "match", data: { name: "conntrack", revision: 3, info: conntrackInfo() } }],
};

function conntrackInfo(): Uint8Array {
  const info = new Uint8Array(CONNTRACK_SIZE);
  const view = new DataView(info.buffer);
  view.setUint16(MATCH_FLAGS_OFFSET, XT_CONNTRACK_STATE, true);
  view.setUint16(STATE_MASK_OFFSET, ESTABLISHED_OR_RELATED, true);
  return info;
}

/** What `forgetForwarded` sends. */
export interface Forgetting {
  readonly requests: readonly Request[];
  /** Chains go with the last rule in them: only right while nobody has changed anything since the look. */
  readonly needsGeneration: boolean;
  /** Chains of ours stay for others, who may be leaving at this moment. */
  readonly sharesWithOthers: boolean;
}

/**
 * Takes the rules of all owners that `isWanted` names out again, and with the last of them in iptables' filter table the
 * chains that led there. The administrator's chain stays where he made it, or has filled it.
 */
export function forgetForwarded(
  seen: ForeignRuleset,
  isWanted: (owner: string) => boolean,
  { adminChain }: ForwardOptions,
): Forgetting {
  const forwarding = new Forwarding(seen);
  const isOwned = ({ comment }: ForeignRule) => comment !== undefined && isWanted(comment);
  const places = forwarding.chains.filter((chain) => isForward(chain) || isPrivate(chain));
  const rules = new Set(places.flatMap((place) => forwarding.rulesOf(place)).filter(isOwned));
  const own = places.filter(isPrivate);
  const emptied = own.filter((place) => {
    const all = forwarding.rulesOf(place);
    const left = all.filter((rule) => !rules.has(rule));
    // Of two that leave at once each sees the other: who looks again finds a chain of ours with nobody in it.
    const isLeft = left.length < all.length || place.comment === CHAIN_MARK;
    return isLeft && left.every((rule) => leadsTo(rule, adminChain));
  });
  const chains = emptied.flatMap((place) => removePrivateChain(forwarding, place, adminChain));
  return {
    requests: [...[...rules].map(deleteRule), ...chains],
    needsGeneration: chains.length > 0,
    sharesWithOthers: own.some((place) => place.comment === CHAIN_MARK && !emptied.includes(place)),
  };
}

/** The reference plugin's chains for `ingressPolicy`, the one that FORWARD leads to first. */
const ISOLATION_CHAINS = ["CNI-ISOLATION-STAGE-1", "CNI-ISOLATION-STAGE-2"] as const;

/** As `lookAtForwarding`, with the reference plugin's chains that it does not need. */
export function lookAtReference(read: Read, options: ForwardOptions): ForeignRuleset {
  const { chains, rules } = lookAtForwarding(read, options);
  const places = chains.filter(isPrivate).flatMap((own) => ISOLATION_CHAINS.map((chain) => ({ ...own, chain })));
  const isIn = (list: readonly ChainPlace[]) => (place: ChainPlace) => list.some((one) => isSameChain(one, place));
  const unknown = places.filter((place) => !isIn(chains)(place));
  const unread = places.filter((place) => !isIn(rules)(place));
  return {
    chains: [...chains, ...readChains(read(unknown.map(chainRequest)))],
    rules: [...rules, ...readRules(read(unread.map(rulesDump)))],
  };
}

/**
 * Takes away what the reference plugin left for these addresses, whose rules carry no mark, and with the last of its pods
 * the chains that it made. `seen` is what `lookAtReference` saw.
 */
export function forgetReference(
  seen: ForeignRuleset,
  addresses: readonly Address[],
  { adminChain }: ForwardOptions,
): Forgetting {
  const forwarding = new Forwarding(seen);
  const plans = forwarding.chains.filter(isPrivate).map((own) => {
    const theirs = podRules(own, { owner: "", addresses }, false).map(({ statements }) =>
      statements.flatMap(({ expressions }) => expressions),
    );
    const all = forwarding.rulesOf(own);
    const rules = all.filter(
      (rule) => rule.comment === undefined && theirs.some((one) => sameMeaning(rule.expressions, one)),
    );
    const left = all.filter((rule) => !rules.includes(rule) && !leadsTo(rule, adminChain));
    if (rules.length === 0) return [];
    return [
      rules.map(deleteRule),
      left.every(({ comment }) => comment !== undefined) ? removeIsolation(forwarding, own) : [],
      left.length === 0 ? removePrivateChain(forwarding, own, adminChain) : [],
    ];
  });
  return {
    requests: plans.flat(2),
    sharesWithOthers: false,
    needsGeneration: plans.some(([, isolation = [], chains = []]) => isolation.length + chains.length > 0),
  };
}

function removeIsolation(forwarding: Forwarding, own: ForeignChain): Request[] {
  const stages = ISOLATION_CHAINS.flatMap((chain) => forwarding.find({ ...own, chain }) ?? []);
  const entries = forwarding.rulesOf({ ...own, chain: "FORWARD" }).filter((rule) => leadsTo(rule, ISOLATION_CHAINS[0]));
  const inner = stages.flatMap((stage) => forwarding.rulesOf(stage));
  const isSpare = (stage: ForeignChain) => {
    const leading = [...entries, ...inner].filter((rule) => verdictOf(rule)?.chain === stage.chain);
    return stage.use === forwarding.rulesOf(stage).length + leading.length;
  };
  return stages.every(isSpare) ? [...entries.map(deleteRule), ...stages.map(deleteChain)] : [];
}

function leadsTo(rule: ForeignRule, chain: string): boolean {
  return isUnconditional(rule) && verdictOf(rule)?.chain === chain;
}

/** The private chain with what leads to it and from it; a chain that somebody else leads to stays. */
function removePrivateChain(forwarding: Forwarding, own: ForeignChain, adminChain: string): Request[] {
  const base = { ...own, chain: "FORWARD" };
  const toOwn = forwarding.rulesOf(base).filter((rule) => leadsTo(rule, PRIVATE_CHAIN));
  const toAdmin = forwarding.rulesOf(own).filter((rule) => leadsTo(rule, adminChain));
  if (own.use > forwarding.rulesOf(own).length + toOwn.length) return [];
  const admin = forwarding.find({ ...own, chain: adminChain });
  // Made by us, or by the reference plugin, which makes both; empty, and asked by nobody else.
  const isSpare =
    admin !== undefined && admin.use === toAdmin.length && (own.comment !== CHAIN_MARK || admin.comment === CHAIN_MARK);
  const forward = forwarding.find(base);
  const isForwardSpare =
    forward?.comment === CHAIN_MARK && forward.policy === VERDICT.accept && forward.use === toOwn.length;
  return [
    ...[...toOwn, ...toAdmin].map(deleteRule),
    deleteChain(own),
    ...(isSpare ? [deleteChain(admin)] : []),
    ...(isForwardSpare ? [deleteChain(forward)] : []),
  ];
}

function addChain(place: ChainPlace): Request {
  return request(
    NFT_MSG_NEWCHAIN,
    `nft add chain ${placeText(place)}`,
    { family: place.family },
    { table: place.table, name: place.chain, userdata: commentUserdata(CHAIN_MARK) },
    NLM_F_CREATE | NLM_F_EXCL,
  );
}

function addRule({ place, statements, comment, first }: WantedRule): Request {
  const text = statements.map((statement) => statement.text).join(" ");
  return request(
    NFT_MSG_NEWRULE,
    `nft ${first ? "insert" : "add"} rule ${placeText(place)} ${text} comment "${comment}"`,
    { family: place.family },
    {
      table: place.table,
      chain: place.chain,
      expressions: statements.flatMap(({ expressions }) => expressions),
      userdata: commentUserdata(comment),
    },
    NLM_F_CREATE | (first ? 0 : NLM_F_APPEND),
  );
}

/** For people: "10.22.0.2, fd00::2". */
export function describeAddresses(addresses: readonly Address[]): string {
  return addresses.map(formatAddress).join(", ");
}
