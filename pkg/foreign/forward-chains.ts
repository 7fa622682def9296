/** The state of the chains that forwarded packets pass, and rules for these chains. */
import {
  LOCALHOST_TABLE,
  NODE_TABLE,
  POD_TABLE_START,
  POLICY_CUT_TABLE,
  POLICY_TABLE,
  PRIVATE_CHAIN,
  SENDERS_TABLE,
  SERVICES_TABLE,
} from "../footprint.ts";
import type { Family } from "../ip/address.ts";
import { NLM_F_APPEND, NLM_F_CREATE, NLM_F_ECHO, type Request, request } from "../netlink/message.ts";
import { NF_INET_HOOK, NFPROTO, NFT_MSG_NEWRULE, VERDICT } from "../netlink/nftables.ts";
import type { Statement } from "../nft/expressions.ts";
import { meaningOf, withoutComment } from "../nft/meaning.ts";
import { ruleObject } from "../nft/object.ts";
import {
  type ChainPlace,
  isSameChain,
  isUnconditional,
  type NftChain,
  type NftRule,
  type NftRuleset,
  placeText,
  type TablePlace,
  tablePlaceText,
  verdictOf,
} from "../nft/ruleset.ts";
import { commentUserdata } from "../nft/userdata.ts";

/** iptables' tables with a chain FORWARD. */
export const IPTABLES_TABLES: ReadonlySet<string> = new Set(["filter", "mangle", "security"]);

/**
 * The depth to which rules without conditions are followed from chain to chain: the kernel's limit
 * (NFT_JUMP_STACK_SIZE).
 */
const DEPTH = 16;

/** True for tables of other programs that IP packets pass. */
export function isIpTable({ family, table }: TablePlace): boolean {
  return (family === NFPROTO.inet || family === NFPROTO.ip || family === NFPROTO.ip6) && !isOurTable(table);
}

const OWN_TABLES: ReadonlySet<string> = new Set([
  NODE_TABLE,
  SERVICES_TABLE,
  LOCALHOST_TABLE,
  POLICY_TABLE,
  POLICY_CUT_TABLE,
  SENDERS_TABLE,
]);

/** True for weftd's tables and the tables for pods. */
export function isOurTable(table: string): boolean {
  return OWN_TABLES.has(table) || table.startsWith(POD_TABLE_START);
}

/** True for weftd's table of Services, and for the guard of 127.0.0.1 that NodePorts need. */
export function isServicesTable({ family, table }: TablePlace): boolean {
  return family === NFPROTO.inet && (table === SERVICES_TABLE || table === LOCALHOST_TABLE);
}

/** True only for that guard. */
export function isLoopbackGuard({ family, table }: TablePlace): boolean {
  return family === NFPROTO.inet && table === LOCALHOST_TABLE;
}

/** True for the filter tables of iptables-nft and ip6tables-nft. */
export function isFilterTable({ family, table }: TablePlace): boolean {
  return (family === NFPROTO.ip || family === NFPROTO.ip6) && table === "filter";
}

/** True for base chains of forwarded IP packets. Excludes weft's own tables. */
export function isForward(chain: NftChain): boolean {
  return isIpTable(chain) && chain.hook === NF_INET_HOOK.forward;
}

export function isPrivate(place: ChainPlace): boolean {
  return isFilterTable(place) && place.chain === PRIVATE_CHAIN;
}

/** True for chains that iptables-nft shows: rules in them must be in its format. */
export function isIptablesChain({ family, table, chain }: ChainPlace): boolean {
  return family !== NFPROTO.inet && IPTABLES_TABLES.has(table) && (chain === "FORWARD" || chain === PRIVATE_CHAIN);
}

export class Forwarding {
  readonly chains: readonly NftChain[];
  readonly rules: readonly NftRule[];
  readonly #meanings = new Map<NftRule, string>();

  constructor({ chains, rules }: NftRuleset) {
    this.chains = chains;
    this.rules = rules;
  }

  find(place: ChainPlace): NftChain | undefined {
    return this.chains.find((chain) => isSameChain(chain, place));
  }

  rulesOf(place: ChainPlace): NftRule[] {
    return this.rules.filter((rule) => isSameChain(rule, place));
  }

  /** Returns the rule's meaning without its comment. iptables-restore stores the comment as an expression. */
  meaning(rule: NftRule): string {
    const known = this.#meanings.get(rule) ?? meaningOf(withoutComment(rule));
    this.#meanings.set(rule, known);
    return known;
  }

  /**
   * Returns "dropped" if a packet that matches no rule with conditions is dropped. Undefined if it returns to the
   * caller.
   */
  fate(chain: NftChain, depth = 0): "dropped" | "accepted" | undefined {
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

export function leadsTo(rule: NftRule, chain: string): boolean {
  return isUnconditional(rule) && verdictOf(rule)?.chain === chain;
}

/** A rule that must exist. */
export interface WantedRule {
  readonly place: ChainPlace;
  readonly statements: readonly Statement[];
  /** Undefined: a rule of this meaning counts, whatever its comment. */
  readonly comment: string | undefined;
  /** True for the chain's head, false for its end. */
  readonly first: boolean;
  /** True if the kernel must echo it with its handle (NLM_F_ECHO). [false] */
  readonly isEchoed?: boolean;
}

export function isThere(forwarding: Forwarding, { place, statements, comment }: WantedRule): boolean {
  const wanted = meaningOf(statements.flatMap(({ expressions }) => expressions));
  return forwarding
    .rulesOf(place)
    .some((rule) => (comment === undefined || rule.comment === comment) && forwarding.meaning(rule) === wanted);
}

export function addRule({ place, statements, comment, first, isEchoed = false }: WantedRule): Request {
  const text = statements.map((statement) => statement.text).join(" ");
  const expressions = statements.flatMap((statement) => statement.expressions);
  return request(
    NFT_MSG_NEWRULE,
    () => ruleObject(tablePlaceText(place), place.chain, { expressions, comment }),
    `nft ${first ? "insert" : "add"} rule ${placeText(place)} ${text}${comment === undefined ? "" : ` comment "${comment}"`}`,
    { family: place.family },
    {
      table: place.table,
      chain: place.chain,
      expressions,
      userdata: commentUserdata(comment),
    },
    NLM_F_CREATE | (first ? 0 : NLM_F_APPEND) | (isEchoed ? NLM_F_ECHO : 0),
  );
}

/** True if packets of this family pass the chain. */
export function isOfFamily({ family }: ChainPlace, address: Family): boolean {
  return family === NFPROTO.inet || family === (address === 4 ? NFPROTO.ip : NFPROTO.ip6);
}
