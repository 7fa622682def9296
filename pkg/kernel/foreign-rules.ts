/**
 * Other programs' chains and rules, read back: as far as it takes to tell what becomes of a packet that no rule knows, and
 * whose rule it is.
 */
import { decode, dumpRequest, type Message, type Request } from "../netlink/message.ts";
import {
  type Expression,
  NFPROTO,
  NFT_MSG_GETCHAIN,
  NFT_MSG_GETRULE,
  NFT_MSG_NEWCHAIN,
  NFT_MSG_NEWRULE,
  VERDICT,
} from "../netlink/nftables.ts";
import { readComment } from "./nft/userdata.ts";

/** A chain by its place. `family` is the kernel's number (NFPROTO). */
export interface ChainPlace {
  readonly family: number;
  readonly table: string;
  readonly chain: string;
}

export interface ForeignChain extends ChainPlace {
  /** Of base chains: where it is hooked in, and what becomes of a packet at its end. */
  readonly hook: number | undefined;
  readonly policy: number | undefined;
  readonly comment: string | undefined;
  /** How many rules it holds, and how many lead to it, together. */
  readonly use: number;
}

export interface ForeignRule extends ChainPlace {
  readonly handle: bigint;
  readonly expressions: readonly Expression[];
  /** As nft keeps it beside the rule, or as iptables keeps it within (`-m comment`). */
  readonly comment: string | undefined;
}

/** A dump of all chains of a family (0: of all families). */
export function chainsDump(family = 0): Request {
  return dumpRequest(NFT_MSG_GETCHAIN, "nft list chains", { family }, {});
}

/** A dump of one chain's rules; ENOENT where there is no such chain. */
export function rulesDump({ family, table, chain }: ChainPlace): Request {
  return dumpRequest(
    NFT_MSG_GETRULE,
    `nft list chain ${familyName(family)} ${table} ${chain}`,
    { family },
    { table, chain },
  );
}

/** nft's name of a family; its number where it has none. */
export function familyName(family: number): string {
  return Object.entries(NFPROTO).find(([, number]) => number === family)?.[0] ?? String(family);
}

export function readChains(seen: readonly Message[]): ForeignChain[] {
  return seen
    .filter(({ type }) => type === NFT_MSG_NEWCHAIN.type)
    .map((message) => {
      const { header, attributes } = decode(NFT_MSG_NEWCHAIN, message);
      const { table = "", name: chain = "", hook, policy, userdata, use = 0 } = attributes;
      return { family: header.family, table, chain, hook: hook?.number, policy, comment: readComment(userdata), use };
    });
}

/** In the order of their chains. */
export function readRules(seen: readonly Message[]): ForeignRule[] {
  return seen
    .filter(({ type }) => type === NFT_MSG_NEWRULE.type)
    .map((message) => {
      const { header, attributes } = decode(NFT_MSG_NEWRULE, message);
      const { table = "", chain = "", handle = 0n, expressions = [], userdata } = attributes;
      const comment = readComment(userdata) ?? expressions.map(commentOfMatch).find((text) => text !== undefined);
      return { family: header.family, table, chain, handle, expressions, comment };
    });
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
export function isUnconditional({ expressions }: ForeignRule): boolean {
  return expressions.every(
    (expression) =>
      WATCHES.has(expression.kind) ||
      (expression.kind === "match" && expression.data?.name === "comment") ||
      (expression.kind === "target" && ["LOG", "NFLOG", "REJECT", "AUDIT"].includes(expression.data?.name ?? "")),
  );
}

/** What a rule does in the end: one of VERDICT's codes with the chain it leads to; `undefined` where it goes on. */
export function verdictOf({
  expressions,
}: ForeignRule): { readonly code: number; readonly chain?: string } | undefined {
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
