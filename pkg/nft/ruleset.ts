/**
 * Tables, chains and rules in the kernel, of weft and of other programs. Parses only what is necessary to predict the
 * fate of a packet that no rule matches, and to find the owner of a rule.
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

/** The length of struct nfgenmsg, and the attribute that only base chains have. */
const NFGENMSG_LENGTH = 4;
const NFTA_CHAIN_HOOK = 4;

/** Identifies a chain. `family` is the kernel's number (NFPROTO). */
export interface ChainPlace {
  readonly family: number;
  readonly table: string;
  readonly chain: string;
}

export interface NftChain extends ChainPlace {
  /** The hook of a base chain, and the policy for packets at its end. */
  readonly hook: number | undefined;
  readonly policy: number | undefined;
  /** The priority of a base chain; chains with smaller values run earlier. */
  readonly priority?: number | undefined;
  /** "filter", "nat" or "route". */
  readonly type?: string | undefined;
  readonly comment: string | undefined;
  /** The number of rules in the chain plus the number of references to it. */
  readonly use: number;
}

export interface NftRule extends ChainPlace {
  readonly handle: bigint;
  readonly expressions: readonly Expression[];
  /** The comment from nft's user data, or from iptables' comment match (`-m comment`). */
  readonly comment: string | undefined;
}

/** A table of any family. */
export interface TablePlace {
  readonly family: number;
  readonly table: string;
  /** The number of chains, sets and other objects in the table. */
  readonly use?: number;
  readonly comment?: string | undefined;
}

/** Dumps the tables of all families. There are few tables, whatever their size. */
export function tablesDump(): Query {
  return dumpRequest(NFT_MSG_GETTABLE, "nft list tables", {}, {});
}

/** Dumps all chains of a family. There may be thousands, if iptables' tables contain a cluster's Services. */
export function chainsDump(family: number): Query {
  return dumpRequest(NFT_MSG_GETCHAIN, `nft list chains ${familyName(family)}`, { family }, {});
}

/** Dumps the base chains of a family. A driver may return the other chains, too. */
export function baseChainsDump(family: number): Query {
  return Object.assign(chainsDump(family), { selects: { header: NFGENMSG_LENGTH, attribute: NFTA_CHAIN_HOOK } });
}

/** Queries one chain. Fails with ENOENT if it does not exist. */
export function chainRequest({ family, table, chain }: ChainPlace): Query {
  const text = `nft list chain ${familyName(family)} ${table} ${chain} (without rules)`;
  return query(NFT_MSG_GETCHAIN, text, { family }, { table, name: chain });
}

/** Dumps one chain's rules. Fails with ENOENT if the chain does not exist. */
export function rulesDump({ family, table, chain }: ChainPlace): Query {
  return dumpRequest(
    NFT_MSG_GETRULE,
    `nft list chain ${familyName(family)} ${table} ${chain}`,
    { family },
    { table, chain },
  );
}

/** Queries one rule. Fails with ENOENT if it does not exist. */
export function ruleRequest(place: ChainPlace, handle: bigint): Query {
  const { family, table, chain } = place;
  return query(
    NFT_MSG_GETRULE,
    `nft list chain ${placeText(place)} (rule ${handle} only)`,
    { family },
    { table, chain, handle },
  );
}

/** nft's name of a family, or its number if nft has no name for it. */
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

/** True for a base chain; cheaper than parsing the chain. */
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
      // The priority is signed and encoded in two's complement.
      const base = {
        hook: hook?.number,
        policy,
        type,
        priority: hook?.priority === undefined ? undefined : hook.priority | 0,
      };
      return { family: header.family, table, chain, ...base, comment: readComment(userdata), use };
    });
}

/**
 * A rule that is parsed on demand. Many rules are only counted or recognised by their comment, so the expressions are
 * parsed at the first access. `readRules` returns rules in the order of their chains.
 */
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

/** The tables, chains and rules that were read. */
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

/** struct xt_comment_info (include/uapi/linux/netfilter/xt_comment.h): the text, padded with NUL. */
function commentOfMatch(expression: Expression): string | undefined {
  if (expression.kind !== "match" || expression.data?.name !== "comment") return undefined;
  return new TextDecoder().decode(expression.data.info).replace(/\0.*$/s, "");
}

/** Expressions without a condition: the rule continues for every packet. */
const WATCHES: ReadonlySet<string> = new Set(["counter", "log", "immediate", "reject", "notrack", "last"]);

/** True if the rule applies to every packet that reaches it. */
export function isUnconditional(rule: NftRule): boolean {
  // weft's own rules each match one pod. There are many of them, so they are not parsed.
  if (rule.comment?.startsWith(MARK_START) === true) return false;
  return rule.expressions.every(
    (expression) =>
      WATCHES.has(expression.kind) ||
      (expression.kind === "match" && expression.data?.name === "comment") ||
      (expression.kind === "target" && ["LOG", "NFLOG", "REJECT", "AUDIT"].includes(expression.data?.name ?? "")),
  );
}

/**
 * The final verdict of a rule: a code of VERDICT with the target chain; `undefined` if the evaluation continues after
 * it.
 */
export function verdictOf({ expressions }: NftRule): { readonly code: number; readonly chain?: string } | undefined {
  for (const expression of expressions) {
    if (expression.kind === "immediate") {
      const verdict = expression.data?.data?.verdict;
      if (verdict?.code === undefined) continue;
      const code = verdict.code | 0;
      return verdict.chain === undefined ? { code } : { code, chain: verdict.chain };
    }
    // Dumps may contain reject expressions outside our attribute tables; they are recognised by kind.
    const isReject = (expression.kind as string) === "reject";
    if (isReject || (expression.kind === "target" && expression.data?.name === "REJECT")) return { code: VERDICT.drop };
  }
  return undefined;
}

/** Deletes a chain with all its rules. Fails with EBUSY while other rules reference it. */
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

/** Deletes a table with all its contents. */
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

/** Formats a table as nft names it: "ip filter". */
export function tablePlaceText({ family, table }: Pick<TablePlace, "family" | "table">): string {
  return `${familyName(family)} ${table}`;
}

/** Formats a chain as nft names it: "ip filter FORWARD". */
export function placeText(place: ChainPlace): string {
  return `${tablePlaceText(place)} ${place.chain}`;
}
