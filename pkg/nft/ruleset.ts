/**
 * Tables, chains and rules as the kernel holds them, whoever made them: as far as it takes to tell what becomes of a packet
 * that no rule matches, and who owns a rule.
 */

import { MARK_START } from "../footprint.ts";
import { eachAttribute } from "../netlink/codec.ts";
import { decode, dumpRequest, type Message, type Query, query, type Request, request } from "../netlink/message.ts";
import {
  type Expression,
  expressionList,
  NFPROTO,
  NFT_MSG_DELCHAIN,
  NFT_MSG_DELRULE,
  NFT_MSG_DELTABLE,
  NFT_MSG_GETCHAIN,
  NFT_MSG_GETRULE,
  NFT_MSG_GETTABLE,
  NFT_MSG_NEWCHAIN,
  NFT_MSG_NEWRULE_OUTLINE,
  NFT_MSG_NEWTABLE,
  VERDICT,
} from "../netlink/nftables.ts";
import { chainObject, ruleObject, tableObject } from "./object.ts";
import { readComment } from "./userdata.ts";

/** struct nfgenmsg, and the attribute that only base chains have. */
const NFGENMSG_LENGTH = 4;
const NFTA_CHAIN_HOOK = 4;

/** A chain by its place. `family` is the kernel's number (NFPROTO). */
export interface ChainPlace {
  readonly family: number;
  readonly table: string;
  readonly chain: string;
}

export interface NftChain extends ChainPlace {
  /** Of base chains: where it is hooked in, and what becomes of a packet at its end. */
  readonly hook: number | undefined;
  readonly policy: number | undefined;
  /** Of base chains: smaller ones are asked earlier. */
  readonly priority?: number | undefined;
  /** "filter", "nat" or "route". */
  readonly type?: string | undefined;
  readonly comment: string | undefined;
  /** How many rules it holds, and how many lead to it, together. */
  readonly use: number;
}

export interface NftRule extends ChainPlace {
  readonly handle: bigint;
  readonly expressions: readonly Expression[];
  /** As nft keeps it beside the rule, or as iptables keeps it within (`-m comment`). */
  readonly comment: string | undefined;
}

/** A table of any family. */
export interface TablePlace {
  readonly family: number;
  readonly table: string;
  /** How many chains, sets and other objects it holds. */
  readonly use?: number;
  readonly comment?: string | undefined;
}

/** A dump of the tables of all families: there are few, whatever they hold. */
export function tablesDump(): Query {
  return dumpRequest(NFT_MSG_GETTABLE, "nft list tables", {}, {});
}

/** A dump of all chains of a family: of thousands, where iptables' tables hold a cluster's services. */
export function chainsDump(family: number): Query {
  return dumpRequest(NFT_MSG_GETCHAIN, `nft list chains ${familyName(family)}`, { family }, {});
}

/** Asks for one chain; ENOENT where there is none. */
export function chainRequest({ family, table, chain }: ChainPlace): Query {
  const text = `nft list chain ${familyName(family)} ${table} ${chain} (alone)`;
  return query(NFT_MSG_GETCHAIN, text, { family }, { table, name: chain });
}

/** A dump of one chain's rules; ENOENT where there is no such chain. */
export function rulesDump({ family, table, chain }: ChainPlace): Query {
  return dumpRequest(
    NFT_MSG_GETRULE,
    `nft list chain ${familyName(family)} ${table} ${chain}`,
    { family },
    { table, chain },
  );
}

/** Asks for one rule; ENOENT where there is none. */
export function ruleRequest(place: ChainPlace, handle: bigint): Query {
  const { family, table, chain } = place;
  return query(
    NFT_MSG_GETRULE,
    `nft list chain ${placeText(place)} (rule ${handle} alone)`,
    { family },
    { table, chain, handle },
  );
}

/** nft's name of a family; its number where it has none. */
export function familyName(family: number): string {
  return Object.entries(NFPROTO).find(([, number]) => number === family)?.[0] ?? String(family);
}

export function readTables(seen: readonly Message[]): TablePlace[] {
  return seen
    .filter(({ type }) => type === NFT_MSG_NEWTABLE.type)
    .map((message) => {
      const { header, attributes } = decode(NFT_MSG_NEWTABLE, message);
      const { name: table = "", use = 0, userdata } = attributes;
      return { family: header.family, table, use, comment: readComment(userdata) };
    });
}

/** True for base chains; cheaper than reading all of a chain that is not. */
export function isBaseChain(message: Message): boolean {
  let isBase = false;
  eachAttribute(message.payload.subarray(NFGENMSG_LENGTH), (type) => {
    if (type === NFTA_CHAIN_HOOK) isBase = true;
  });
  return isBase;
}

export function readChains(seen: readonly Message[]): NftChain[] {
  return seen
    .filter(({ type }) => type === NFT_MSG_NEWCHAIN.type)
    .map((message) => {
      const { header, attributes } = decode(NFT_MSG_NEWCHAIN, message);
      const { table = "", name: chain = "", hook, policy, type, userdata, use = 0 } = attributes;
      // Signed, and told in two's complement.
      const base = {
        hook: hook?.number,
        policy,
        type,
        priority: hook?.priority === undefined ? undefined : hook.priority | 0,
      };
      return { family: header.family, table, chain, ...base, comment: readComment(userdata), use };
    });
}

/** In the order of their chains. Many are only counted or known by their comment: the rest is read when asked for. */
class Rule implements NftRule {
  readonly family: number;
  readonly table: string;
  readonly chain: string;
  readonly handle: bigint;
  readonly #userdata: Uint8Array | undefined;
  readonly #encoded: Uint8Array | undefined;
  #expressions: readonly Expression[] | undefined;

  constructor(message: Message) {
    const { header, attributes: fields } = decode(NFT_MSG_NEWRULE_OUTLINE, message);
    this.family = header.family;
    this.table = fields.table ?? "";
    this.chain = fields.chain ?? "";
    this.handle = fields.handle ?? 0n;
    this.#userdata = fields.userdata;
    this.#encoded = fields.expressions;
  }

  get expressions(): readonly Expression[] {
    this.#expressions ??= this.#encoded === undefined ? [] : expressionList.read(this.#encoded);
    return this.#expressions;
  }

  get comment(): string | undefined {
    return readComment(this.#userdata) ?? this.expressions.map(commentOfMatch).find((text) => text !== undefined);
  }
}

export function readRules(seen: readonly Message[]): NftRule[] {
  return seen.filter(({ type }) => type === NFT_MSG_NEWRULE_OUTLINE.type).map((message) => new Rule(message));
}

/** Tables, chains and rules, as far as they were looked at. */
export interface NftRuleset {
  readonly tables: readonly TablePlace[];
  readonly chains: readonly NftChain[];
  readonly rules: readonly NftRule[];
}

export function readNftRuleset(seen: readonly Message[]): NftRuleset {
  return { tables: readTables(seen), chains: readChains(seen), rules: readRules(seen) };
}

export function isSameChain(a: ChainPlace, b: ChainPlace): boolean {
  return a.family === b.family && a.table === b.table && a.chain === b.chain;
}

/** struct xt_comment_info (include/uapi/linux/netfilter/xt_comment.h): the text, filled up with NUL. */
function commentOfMatch(expression: Expression): string | undefined {
  if (expression.kind !== "match" || expression.data?.name !== "comment") return undefined;
  return new TextDecoder().decode(expression.data.info).replace(/\0.*$/s, "");
}

/** What only watches a packet, and lets every one of them go on. */
const WATCHES: ReadonlySet<string> = new Set(["counter", "log", "immediate", "reject", "notrack", "last"]);

/** True when every packet that comes to the rule is treated by it. */
export function isUnconditional(rule: NftRule): boolean {
  // Ours are of one pod each, and many: what is in them need not be read.
  if (rule.comment?.startsWith(MARK_START) === true) return false;
  return rule.expressions.every(
    (expression) =>
      WATCHES.has(expression.kind) ||
      (expression.kind === "match" && expression.data?.name === "comment") ||
      (expression.kind === "target" && ["LOG", "NFLOG", "REJECT", "AUDIT"].includes(expression.data?.name ?? "")),
  );
}

/** What a rule does in the end: one of VERDICT's codes with the chain it leads to; `undefined` where it goes on. */
export function verdictOf({ expressions }: NftRule): { readonly code: number; readonly chain?: string } | undefined {
  for (const expression of expressions) {
    if (expression.kind === "immediate") {
      const verdict = expression.data?.data?.verdict;
      if (verdict?.code === undefined) continue;
      const code = verdict.code | 0;
      return verdict.chain === undefined ? { code } : { code, chain: verdict.chain };
    }
    // Not in the table of expressions that we write: known by its name.
    const isReject = (expression.kind as string) === "reject";
    if (isReject || (expression.kind === "target" && expression.data?.name === "REJECT")) return { code: VERDICT.drop };
  }
  return undefined;
}

/** With all rules in it; EBUSY while others lead to it. */
export function deleteChain(place: ChainPlace): Request {
  return request(
    NFT_MSG_DELCHAIN,
    chainObject(tablePlaceText(place), place.chain),
    `nft delete chain ${placeText(place)}`,
    { family: place.family },
    { table: place.table, name: place.chain },
  );
}

export function deleteRule(rule: NftRule): Request {
  const { family, table, chain, handle } = rule;
  return request(
    NFT_MSG_DELRULE,
    () => ruleObject(tablePlaceText(rule), chain, rule),
    `nft delete rule ${placeText(rule)} handle ${handle}`,
    { family },
    { table, chain, handle },
  );
}

/** With all that is in it. */
export function deleteTable(place: TablePlace): Request {
  const name = tablePlaceText(place);
  return request(
    NFT_MSG_DELTABLE,
    tableObject(name),
    `nft delete table ${name}`,
    { family: place.family },
    { name: place.table },
  );
}

/** "ip filter", as nft names a table. */
export function tablePlaceText({ family, table }: Pick<TablePlace, "family" | "table">): string {
  return `${familyName(family)} ${table}`;
}

/** "ip filter FORWARD", as nft names a chain. */
export function placeText(place: ChainPlace): string {
  return `${tablePlaceText(place)} ${place.chain}`;
}
