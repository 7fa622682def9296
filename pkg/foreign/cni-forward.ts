/**
 * The reference firewall plugin's chains in iptables' filter tables on nf_tables, created as that plugin creates them,
 * so that each program finds the other's chains:
 *
 *     FORWARD      -> CNI-FORWARD                      comment "CNI firewall plugin rules"
 *     CNI-FORWARD  -> the administrator's chain        comment "CNI firewall plugin admin overrides"
 *     CNI-FORWARD  -d POD, established or related  accept
 *     CNI-FORWARD  -s POD                          accept
 *
 * iptables-nft refuses to show or save a table with any content that it could not have written. Therefore weft uses no
 * sets there, and matches connection states by the xtables extension.
 */
import {
  ADMIN_COMMENT,
  CHAIN_MARK,
  FILTER_PRIORITY,
  ISOLATION_CHAINS,
  PRIVATE_CHAIN,
  PRIVATE_COMMENT,
} from "../footprint.ts";
import type { Address, Family } from "../ip/address.ts";
import { NLM_F_CREATE, NLM_F_EXCL, type Request, request } from "../netlink/message.ts";
import {
  type Expression,
  NF_INET_HOOK,
  NFPROTO,
  NFT_CMP,
  NFT_META,
  NFT_MSG_NEWCHAIN,
  NFT_MSG_NEWTABLE,
  VERDICT,
} from "../netlink/nftables.ts";
import {
  accept,
  counter,
  jump,
  matchAddress,
  matchEstablished,
  matchFamily,
  type Statement,
} from "../nft/expressions.ts";
import { meaningOf, withoutComment } from "../nft/meaning.ts";
import { chainObject, tableObject } from "../nft/object.ts";
import {
  type ChainPlace,
  deleteChain,
  deleteRule,
  deleteTable,
  isSameChain,
  type NftChain,
  type NftRule,
  placeText,
  type TablePlace,
  tablePlaceText,
  verdictOf,
} from "../nft/ruleset.ts";
import { commentUserdata } from "../nft/userdata.ts";
import {
  addRule,
  type Forwarding,
  isForward,
  isIptablesChain,
  isOfFamily,
  isThere,
  leadsTo,
  type WantedRule,
} from "./forward-chains.ts";

/** Returns requests for a FORWARD chain as iptables-nft creates it, and for its table if it is not among `tables`. */
export function addForward(place: ChainPlace, tables: readonly TablePlace[]): Request[] {
  const isThere = tables.some(({ family, table }) => family === place.family && table === place.table);
  const table = request(
    NFT_MSG_NEWTABLE,
    tableObject(tablePlaceText(place)),
    `nft add table ${tablePlaceText(place)}`,
    { family: place.family },
    { name: place.table, flags: 0, userdata: commentUserdata(CHAIN_MARK) },
    NLM_F_CREATE | NLM_F_EXCL,
  );
  return [
    ...(isThere ? [] : [table]),
    request(
      NFT_MSG_NEWCHAIN,
      chainObject(tablePlaceText(place), place.chain),
      `nft add chain ${placeText(place)} { type filter hook forward priority ${FILTER_PRIORITY}; policy accept; }`,
      { family: place.family },
      {
        table: place.table,
        name: place.chain,
        hook: { number: NF_INET_HOOK.forward, priority: FILTER_PRIORITY },
        policy: VERDICT.accept,
        type: "filter",
        userdata: commentUserdata(CHAIN_MARK),
      },
      NLM_F_CREATE | NLM_F_EXCL,
    ),
  ];
}

/** Returns the FORWARD chain that `addForward` will create. */
export function newForward({ family, table }: TablePlace): NftChain {
  const [hook, policy] = [NF_INET_HOOK.forward, VERDICT.accept];
  return { family, table, chain: "FORWARD", hook, policy, comment: CHAIN_MARK, use: 0 };
}

/**
 * True if the filter table of this family has no forward chain, so that FORWARD may be created. A table of that name
 * whose forward chain has another name belongs to an administrator.
 */
export function lacksForward({ chains }: Forwarding, family: number): boolean {
  return !chains.some((chain) => chain.family === family && chain.table === "filter" && isForward(chain));
}

/** Returns requests for the missing parts of FORWARD -> CNI-FORWARD -> `adminChain`. */
export function addPrivateChain(forwarding: Forwarding, base: NftChain, adminChain: string): Request[] {
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

function addChain(place: ChainPlace): Request {
  return request(
    NFT_MSG_NEWCHAIN,
    chainObject(tablePlaceText(place), place.chain),
    `nft add chain ${placeText(place)}`,
    { family: place.family },
    { table: place.table, name: place.chain, userdata: commentUserdata(CHAIN_MARK) },
    NLM_F_CREATE | NLM_F_EXCL,
  );
}

/**
 * Returns the rules that accept an address: replies to the pod, and all packets from it. In iptables' chains, as
 * iptables-nft writes them.
 */
export function acceptAddress(place: ChainPlace, address: Address): readonly (readonly Statement[])[] {
  const family = place.family === NFPROTO.inet ? [matchFamily(address.family)] : [];
  const established = isIptablesChain(place) ? [establishedByXtables, counter] : [matchEstablished, counter];
  return [
    [...family, matchAddress("daddr", address), ...established, accept],
    [...family, matchAddress("saddr", address), counter, accept],
  ];
}

/** The size of struct xt_conntrack_mtinfo3 (include/uapi/linux/netfilter/xt_conntrack.h), padded to eight bytes. */
const CONNTRACK_SIZE = 168;
const MATCH_FLAGS_OFFSET = 146;
const STATE_MASK_OFFSET = 150;
const XT_CONNTRACK_STATE = 1;
/** XT_CONNTRACK_STATE_BIT of IP_CT_ESTABLISHED and IP_CT_RELATED. */
const ESTABLISHED_OR_RELATED = 2 | 4;

/** `-m conntrack --ctstate RELATED,ESTABLISHED`. nft also shows it as the connection's state. */
const establishedByXtables: Statement = {
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

/** True if every rule of the chain, and every rule that leads to it, is in `forwarding`. */
export function isSeenWhole(forwarding: Forwarding, place: NftChain): boolean {
  return place.use <= forwarding.rulesOf(place).length + leadingTo(forwarding, place).length;
}

function leadingTo(forwarding: Forwarding, { family, table, chain }: ChainPlace): NftRule[] {
  return forwarding.rules.filter(
    (rule) => rule.family === family && rule.table === table && verdictOf(rule)?.chain === chain,
  );
}

/**
 * Removes CNI-FORWARD with the rules from and to it, and then the objects that weft or the reference plugin created
 * only for it: the administrator's chain if it is empty, FORWARD, the table. A chain that another rule refers to is
 * kept.
 */
export function removePrivateChain(
  forwarding: Forwarding,
  tables: readonly TablePlace[],
  own: NftChain,
  adminChain: string,
): Request[] {
  const base = { ...own, chain: "FORWARD" };
  const toOwn = forwarding.rulesOf(base).filter((rule) => leadsTo(rule, PRIVATE_CHAIN));
  const toAdmin = forwarding.rulesOf(own).filter((rule) => leadsTo(rule, adminChain));
  if (own.use > forwarding.rulesOf(own).length + toOwn.length) return [];
  const admin = forwarding.find({ ...own, chain: adminChain });
  // weft created it, or the reference plugin, which creates both. It is empty, and no other rule refers to it.
  const isAdminSpare =
    admin !== undefined && admin.use === toAdmin.length && (own.comment !== CHAIN_MARK || admin.comment === CHAIN_MARK);
  const forward = forwarding.find(base);
  const isForwardSpare =
    forward?.comment === CHAIN_MARK && forward.policy === VERDICT.accept && forward.use === toOwn.length;
  const chains = [own, ...(isAdminSpare ? [admin] : []), ...(isForwardSpare ? [forward] : [])];
  const table = tables.find((one) => one.family === own.family && one.table === own.table);
  const isTableSpare = isForwardSpare && table?.comment === CHAIN_MARK && table.use === chains.length;
  return isTableSpare ? [deleteTable(table)] : [...[...toOwn, ...toAdmin].map(deleteRule), ...chains.map(deleteChain)];
}

/** Removes the chains of `ingressPolicy` if no other rule refers to them. */
export function removeIsolation(forwarding: Forwarding, own: NftChain): Request[] {
  const stages = ISOLATION_CHAINS.flatMap((chain) => forwarding.find({ ...own, chain }) ?? []);
  const entries = forwarding.rulesOf({ ...own, chain: "FORWARD" }).filter((rule) => leadsTo(rule, ISOLATION_CHAINS[0]));
  const inner = stages.flatMap((stage) => forwarding.rulesOf(stage));
  const isSpare = (stage: NftChain) => {
    const leading = [...entries, ...inner].filter((rule) => verdictOf(rule)?.chain === stage.chain);
    return stage.use === forwarding.rulesOf(stage).length + leading.length;
  };
  return stages.every(isSpare) ? [...entries.map(deleteRule), ...stages.map(deleteChain)] : [];
}

/**
 * Returns the bridges that the reference plugin isolates from each other. CNI-ISOLATION-STAGE-1 has one rule for each:
 * `-i BRIDGE ! -o BRIDGE -j CNI-ISOLATION-STAGE-2`.
 */
export function isolatedBridges(rules: readonly NftRule[]): string[] {
  const names = rules
    .filter((rule) => rule.chain === ISOLATION_CHAINS[0] && verdictOf(rule)?.chain === ISOLATION_CHAINS[1])
    .flatMap(({ expressions }) => inputInterface(expressions) ?? []);
  return [...new Set(names)];
}

/** Returns the name in `iifname NAME`. Undefined if the rule has no such match. */
function inputInterface(expressions: readonly Expression[]): string | undefined {
  const at = expressions.findIndex(({ kind, data }) => kind === "meta" && data?.key === NFT_META.iifname);
  const next = at < 0 ? undefined : expressions[at + 1];
  if (next?.kind !== "cmp" || next.data?.op !== NFT_CMP.eq) return undefined;
  const name = new TextDecoder().decode(next.data.data?.value ?? new Uint8Array()).replace(/\0.*$/s, "");
  return name === "" ? undefined : name;
}

/** Returns the place of CNI-FORWARD in the filter table of iptables or ip6tables. */
export function privateChainOf(family: Family): ChainPlace {
  return { family: family === 4 ? NFPROTO.ip : NFPROTO.ip6, table: "filter", chain: PRIVATE_CHAIN };
}

/** Returns the `rules` in CNI-FORWARD that accept `address`, in the order of `acceptAddress`. Comments are ignored. */
export function rulesOfAddress(rules: readonly NftRule[], address: Address): NftRule[] {
  const place = privateChainOf(address.family);
  const own = rules.filter((rule) => isSameChain(rule, place));
  return meaningsOf(place, [address]).flatMap(
    (meaning) => own.find((rule) => meaningOf(withoutComment(rule)) === meaning) ?? [],
  );
}

/**
 * Returns the meaning of each rule that `acceptAddress` creates for these addresses. Skips addresses of other families.
 */
export function meaningsOf(place: ChainPlace, addresses: readonly Address[]): string[] {
  return addresses
    .filter(({ family }) => isOfFamily(place, family))
    .flatMap((address) => acceptAddress(place, address))
    .map((statements) => meaningOf(statements.flatMap(({ expressions }) => expressions)));
}
