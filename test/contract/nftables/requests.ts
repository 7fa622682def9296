/** Requests for the contract's cases; the family is inet by default. */
import { dumpRequest, NLM_F_APPEND, NLM_F_CREATE, type Request } from "../../../pkg/netlink/message.ts";
import {
  type Expression,
  NFPROTO,
  NFT_MSG_DELCHAIN,
  NFT_MSG_DELRULE,
  NFT_MSG_DELSET,
  NFT_MSG_DELSETELEM,
  NFT_MSG_DELTABLE,
  NFT_MSG_GETCHAIN,
  NFT_MSG_GETRULE,
  NFT_MSG_GETSET,
  NFT_MSG_GETSETELEM,
  NFT_MSG_GETTABLE,
  NFT_MSG_NEWCHAIN,
  NFT_MSG_NEWRULE,
  NFT_MSG_NEWSET,
  NFT_MSG_NEWSETELEM,
  NFT_MSG_NEWTABLE,
  NFT_REG,
  NFT_SET,
  type NftData,
  type SetElement,
  VERDICT,
} from "../../../pkg/netlink/nftables.ts";
import { commentUserdata } from "../../../pkg/nft/userdata.ts";
import { change } from "../../convergence/change.ts";

export const TABLE = "t";

type AttributesOf<M> = M extends { attributes: { write(to: never, value: infer A): void } } ? A : never;
type TableAttributes = AttributesOf<typeof NFT_MSG_NEWTABLE>;
type ChainAttributes = AttributesOf<typeof NFT_MSG_NEWCHAIN>;
type RuleAttributes = AttributesOf<typeof NFT_MSG_NEWRULE>;
type SetAttributes = AttributesOf<typeof NFT_MSG_NEWSET>;

/** Replaces the flags that nft would set, and the family. */
interface Options {
  readonly flags?: number;
  readonly family?: number;
}

const familyOf = ({ family = NFPROTO.inet }: Options) => ({ family });

export function addTable(name: string = TABLE, more: TableAttributes = {}, options: Options = {}): Request {
  return change(
    NFT_MSG_NEWTABLE,
    `add table ${name}`,
    familyOf(options),
    { name, ...more },
    options.flags ?? NLM_F_CREATE,
  );
}

export function deleteTable(name: string = TABLE, options: Options = {}): Request {
  return change(NFT_MSG_DELTABLE, `delete table ${name}`, familyOf(options), { name }, options.flags ?? 0);
}

export function deleteTableByHandle(handle: bigint): Request {
  return change(NFT_MSG_DELTABLE, `delete table handle ${handle}`, { family: NFPROTO.inet }, { handle });
}

export function addChain(name: string, more: ChainAttributes = {}, options: Options = {}): Request {
  const attributes = { table: TABLE, name, ...more };
  return change(NFT_MSG_NEWCHAIN, `add chain ${name}`, familyOf(options), attributes, options.flags ?? NLM_F_CREATE);
}

/** The attributes of a base chain. */
export function hooked(hook: number, type = "filter", priority = 0): ChainAttributes {
  return { hook: { number: hook, priority: priority >>> 0 }, type, policy: VERDICT.accept };
}

export function deleteChain(name: string, options: Options = {}): Request {
  return change(
    NFT_MSG_DELCHAIN,
    `delete chain ${name}`,
    familyOf(options),
    { table: TABLE, name },
    options.flags ?? 0,
  );
}

const APPEND = NLM_F_CREATE | NLM_F_APPEND;

/** The comment identifies the rule. */
export function addRule(
  chain: string,
  comment: string,
  expressions: readonly Expression[] = [],
  more: RuleAttributes = {},
  options: Options = {},
): Request {
  const attributes = { table: TABLE, chain, expressions, userdata: commentUserdata(comment), ...more };
  return change(
    NFT_MSG_NEWRULE,
    `add rule ${chain} ${comment}`,
    familyOf(options),
    attributes,
    options.flags ?? APPEND,
  );
}

export function deleteRule(chain: string | undefined, handle?: bigint): Request {
  const attributes = { table: TABLE, chain, handle };
  return change(NFT_MSG_DELRULE, `delete rule ${chain} ${handle}`, { family: NFPROTO.inet }, attributes);
}

export function addSet(name: string, attributes: SetAttributes, options: Options = {}): Request {
  const whole = { table: TABLE, name, id: 1, ...attributes };
  return change(NFT_MSG_NEWSET, `add set ${name}`, familyOf(options), whole, options.flags ?? NLM_F_CREATE);
}

export function deleteSet(name: string, options: Options = {}): Request {
  return change(NFT_MSG_DELSET, `delete set ${name}`, familyOf(options), { table: TABLE, name }, options.flags ?? 0);
}

export function addElements(set: string, elements: readonly SetElement[] | undefined, options: Options = {}): Request {
  const attributes = { table: TABLE, set, elements };
  return change(NFT_MSG_NEWSETELEM, `add element ${set}`, familyOf(options), attributes, options.flags ?? NLM_F_CREATE);
}

export function deleteElements(set: string, elements?: readonly SetElement[]): Request {
  const attributes = { table: TABLE, set, elements };
  return change(NFT_MSG_DELSETELEM, `delete element ${set}`, { family: NFPROTO.inet }, attributes);
}

export function getElements(set: string, elements: readonly SetElement[]): Request {
  const attributes = { table: TABLE, set, elements };
  return change(NFT_MSG_GETSETELEM, `get element ${set}`, { family: NFPROTO.inet }, attributes);
}

export function getChain(name: string): Request {
  return change(NFT_MSG_GETCHAIN, `get chain ${name}`, { family: NFPROTO.inet }, { table: TABLE, name });
}

export function getRule(chain: string, handle: bigint): Request {
  return change(NFT_MSG_GETRULE, `get rule ${handle}`, { family: NFPROTO.inet }, { table: TABLE, chain, handle });
}

export const dumps = {
  tables: (family: number) => dumpRequest(NFT_MSG_GETTABLE, "list tables", { family }, {}),
  chains: (family: number) => dumpRequest(NFT_MSG_GETCHAIN, "list chains", { family }, {}),
  rules: (family: number, table?: string, chain?: string) =>
    dumpRequest(NFT_MSG_GETRULE, "list rules", { family }, { table, chain }),
  sets: (family: number, table?: string) => dumpRequest(NFT_MSG_GETSET, "list sets", { family }, { table }),
  elements: (family: number, table: string, set: string) =>
    dumpRequest(NFT_MSG_GETSETELEM, "list elements", { family }, { table, set }),
};

/** NFT_DATA_VERDICT */
const VERDICT_TYPE = 0xffff_ff00;
const ADDRESS = { keyType: 7, keyLength: 4 };

/** The kinds of sets that weft uses. */
export const SETS = {
  addresses: ADDRESS,
  ranges: { ...ADDRESS, flags: NFT_SET.interval },
  pairs: {
    ...{ keyType: (7 << 6) | 7, keyLength: 8, flags: NFT_SET.interval | NFT_SET.concat },
    description: { concat: [{ length: 4 }, { length: 4 }] },
  },
  ports: { ...ADDRESS, flags: NFT_SET.map, dataType: 13, dataLength: 2 },
  verdicts: { ...ADDRESS, flags: NFT_SET.map, dataType: VERDICT_TYPE },
} as const;

export const bytes = (...values: number[]): NftData => ({ value: Uint8Array.from(values) });
/** 10.0.0.`last` */
export const address = (last: number): NftData => bytes(10, 0, 0, last);
export const key = (last: number): SetElement => ({ key: address(last) });
/** The range ends before 10.0.0.`last`. */
export const range = (first: number, last: number): SetElement[] => [key(first), { key: address(last), flags: 1 }];
/** Pairs from (a, b) to (c, d). */
export const pair = (a: number, b: number, c: number, d: number): SetElement => ({
  key: bytes(10, 0, 0, a, 10, 0, 0, b),
  keyEnd: bytes(10, 0, 0, c, 10, 0, 0, d),
});

export const verdict = (code: number, chain?: string): NftData => ({
  verdict: { code: code >>> 0, ...(chain === undefined ? {} : { chain }) },
});
export const decide = (code: number, chain?: string): Expression => ({
  kind: "immediate",
  data: { dreg: NFT_REG.verdict, data: verdict(code, chain) },
});
export const jump = (chain: string): Expression => decide(VERDICT.jump, chain);
/** r1 becomes the source address. */
export const loadSource: Expression = { kind: "payload", data: { dreg: NFT_REG.r1, base: 1, offset: 12, length: 4 } };
export const lookup = (set: string, dreg?: number): Expression => ({
  kind: "lookup",
  data: { set, sreg: NFT_REG.r1, ...(dreg === undefined ? {} : { dreg }) },
});
