/**
 * An nf_tables table as data, and the transaction that makes the kernel's table equal to it.
 */
import {
  lateRequest,
  NLM_F_APPEND,
  NLM_F_CREATE,
  NLM_F_EXCL,
  type Query,
  query,
  type Request,
  request,
} from "../netlink/message.ts";
import {
  NF_INET_HOOK,
  NFPROTO,
  NFT_MSG_DELCHAIN,
  NFT_MSG_DELRULE,
  NFT_MSG_DELSET,
  NFT_MSG_DELSETELEM,
  NFT_MSG_DELTABLE,
  NFT_MSG_GETSETELEM,
  NFT_MSG_NEWCHAIN,
  NFT_MSG_NEWRULE,
  NFT_MSG_NEWSET,
  NFT_MSG_NEWSETELEM,
  NFT_MSG_NEWTABLE,
  type SetElement,
  VERDICT,
} from "../netlink/nftables.ts";
import { flushChain } from "./clearing.ts";
import type { Statement } from "./expressions.ts";
import { chainObject, elementsObject, ruleObject, setObject, tableObject } from "./object.ts";
import { elementsText, keyAttributes, keyText, type NftSet, stateAttributes, userdataOf, wireElements } from "./set.ts";
import { commentUserdata, stampedUserdata } from "./userdata.ts";

export interface Rule {
  readonly statements: readonly Statement[];
  readonly comment: string;
}

/** A base chain: the kernel evaluates it at its hook. Its policy accepts packets that no rule decides. */
export interface BaseChain {
  readonly name: string;
  readonly type: "filter" | "nat" | "route";
  readonly hook: keyof typeof NF_INET_HOOK;
  /** nft's names are numbers that depend on the family: srcnat is 100, but 300 in `bridge`. */
  readonly priority: number;
  readonly rules: readonly Rule[];
}

/** A chain that is the target of jumps from rules and elements. */
export interface RegularChain {
  readonly name: string;
  readonly hook?: undefined;
  readonly rules: readonly Rule[];
}

export type Chain = BaseChain | RegularChain;

export interface Table {
  readonly family: keyof typeof NFPROTO;
  readonly name: string;
  readonly comment: string;
  readonly sets: readonly NftSet[];
  readonly chains: readonly Chain[];
  /** Only tables whose sets, chains and rules never change after the creation of the table have a stamp. */
  readonly stamp?: TableStamp;
}

/** The kernel stores it with the table, and `stamp.ts` reads it back. */
export interface TableStamp {
  /** The digest of the layout (`layoutDigest`), as a constant. */
  readonly layout: number;
  /** Bytes that describe the variable parts of the layout; at most 64. */
  readonly parts?: readonly number[];
}

/** nla_len has 16 bits; 200 elements with the longest comment take 48 KiB. */
const ELEMENTS_PER_MESSAGE = 200;

/** Replaces the table with all its contents in one batch. The same commit removes any existing table of this name. */
export function replaceTable(table: Table): Request[] {
  // The kernel refuses to delete a missing table, so the batch first adds it.
  return [addTable(table), deleteTable(table), addTable(table), ...fillTable(table)];
}

/**
 * Creates the table. Fails with EEXIST if the table exists, so one of two programs that create it at the same time
 * learns of the other.
 */
export function createTable(table: Table): Request[] {
  return [addTable(table, NLM_F_EXCL), ...fillTable(table)];
}

/** Removes the table with all its contents, if it exists. */
export function removeTable(table: Table): Request[] {
  return [addTable(table), deleteTable(table)];
}

/** Replaces all rules, and adds the chains that are not `present`. Sets and their elements stay. */
export function replaceRules(table: Table, present: ReadonlySet<string>): Request[] {
  return [flushRules(table), ...missingChainsAndRules(table, present)];
}

function flushRules(table: Table): Request {
  const name = tableText(table);
  return request(NFT_MSG_DELRULE, tableObject(name), `nft flush table ${name}`, tableHeader(table), {
    table: table.name,
  });
}

function missingChainsAndRules(table: Table, present: ReadonlySet<string>): Request[] {
  return [
    ...table.chains.filter((chain) => !present.has(chain.name)).map((chain) => addChain(table, chain)),
    ...table.chains.flatMap((chain) => chain.rules.map((rule) => addRule(table, chain, rule))),
  ];
}

/** The chains and sets of an existing table that may stay, and those that must be removed, by name. */
export interface TableRemains {
  readonly chains: ReadonlySet<string>;
  readonly sets: ReadonlySet<string>;
  readonly goneChains: readonly string[];
  readonly goneSets: readonly string[];
}

/**
 * Rebuilds an existing table that has other sets or chains. Sets that may stay keep their elements, except verdict
 * maps, which are emptied so that they reference no chain. The elements of other sets are not added.
 */
export function rebuildTable(table: Table, { chains, sets, goneChains, goneSets }: TableRemains): Request[] {
  const verdicts = table.sets.filter((set) => sets.has(set.name) && set.kind === "tuples" && set.data === "verdict");
  return [
    flushRules(table),
    ...[...verdicts.map((set) => set.name), ...goneSets].map((set) => flushSet(table, set)),
    ...goneSets.map((set) => removeSet(table, set)),
    ...goneChains.map((chain) => removeChain(table, chain)),
    ...table.sets.flatMap((set, index) => (sets.has(set.name) ? [] : [addSet(table, set, index + 1)])),
    ...missingChainsAndRules(table, chains),
  ];
}

/** Adds a chain with its rules. */
export function addWholeChain(table: Table, chain: Chain): Request[] {
  return [addChain(table, chain), ...addRules(table, chain)];
}

/** Adds the rules of an existing, empty chain. */
export function addRules(table: Table, chain: Chain): Request[] {
  return chain.rules.map((rule) => addRule(table, chain, rule));
}

/** Deletes a chain with its rules. Fails with EBUSY while other rules or elements refer to it. */
export function removeChain(table: Table, chain: string): Request {
  const name = tableText(table);
  return request(NFT_MSG_DELCHAIN, chainObject(name, chain), `nft delete chain ${name} ${chain}`, tableHeader(table), {
    table: table.name,
    name: chain,
  });
}

/** Removes all rules of a chain. */
export function flushRulesOf(table: Table, chain: string): Request {
  return flushChain({ family: NFPROTO[table.family], table: table.name, chain });
}

/** Adds a set with its elements. `id` differs from the ids of other sets of the transaction. */
export function addWholeSet(table: Table, set: NftSet, id: number): Request[] {
  return [addSet(table, set, id), ...addElements(table, set)];
}

/** Deletes a set. Fails with EBUSY while rules refer to it. */
export function removeSet(table: Table, set: string): Request {
  const name = tableText(table);
  const attributes = { table: table.name, name: set };
  return request(NFT_MSG_DELSET, setObject(name, set), `nft delete set ${name} ${set}`, tableHeader(table), attributes);
}

function fillTable(table: Table): Request[] {
  // Rules refer to sets and chains, and map elements refer to chains, so sets and chains come first.
  return [
    ...table.sets.map((set, index) => addSet(table, set, index + 1)),
    ...table.chains.map((chain) => addChain(table, chain)),
    ...table.sets.flatMap((set) => addElements(table, set)),
    ...table.chains.flatMap((chain) => chain.rules.map((rule) => addRule(table, chain, rule))),
  ];
}

function addTable(table: Table, exclusive = 0): Request {
  return request(
    NFT_MSG_NEWTABLE,
    tableObject(tableText(table)),
    `nft add table ${tableText(table)}`,
    tableHeader(table),
    { name: table.name, flags: 0, userdata: tableUserdata(table) },
    NLM_F_CREATE | exclusive,
  );
}

function tableUserdata({ comment, stamp, sets, chains }: Table): Uint8Array | undefined {
  if (stamp === undefined) return commentUserdata(comment);
  const rules = chains.reduce((sum, chain) => sum + chain.rules.length, 0);
  return stampedUserdata(comment, { parts: [], ...stamp, objects: sets.length + chains.length, rules });
}

/** Deletes the table. With `handle`, fails with ENOENT if another table of this name has replaced it. */
export function deleteTable(table: Table, handle?: bigint): Request {
  return request(
    NFT_MSG_DELTABLE,
    tableObject(tableText(table)),
    handle === undefined ? `nft delete table ${tableText(table)}` : `nft delete table ${table.family} handle ${handle}`,
    tableHeader(table),
    handle === undefined ? { name: table.name } : { handle },
  );
}

function addSet(table: Table, set: NftSet, id: number): Request {
  return request(
    NFT_MSG_NEWSET,
    setObject(tableText(table), set.name),
    `nft add ${isMap(set) ? "map" : "set"} ${tableText(table)} ${set.name} { ${keyText(set)} }`,
    tableHeader(table),
    {
      table: table.name,
      name: set.name,
      id,
      ...keyAttributes(set),
      ...stateAttributes(set),
      userdata: userdataOf(set),
    },
    NLM_F_CREATE | NLM_F_EXCL,
  );
}

function isMap(set: NftSet): boolean {
  return set.kind === "tuples" && set.data !== undefined;
}

/**
 * Adds elements. Fails with EEXIST if an element exists, whatever its comment; with `exclusive: false` it stays
 * unchanged. `wire` are the set's elements, if the caller has encoded them (`wireElements`).
 */
export function addElements(
  table: Table,
  set: NftSet,
  {
    exclusive = true,
    wire = wireElements(set),
  }: { readonly exclusive?: boolean; readonly wire?: readonly SetElement[] } = {},
): Request[] {
  return inMessages(wire).map((elements) =>
    lateRequest(
      NFT_MSG_NEWSETELEM,
      () => elementsObject(tableText(table), set.name, elements),
      () => `nft ${exclusive ? "create" : "add"} element ${tableText(table)} ${set.name} ${elementsText(set)}`,
      () => [tableHeader(table), { table: table.name, set: set.name, elements }],
      NLM_F_CREATE | (exclusive ? NLM_F_EXCL : 0),
    ),
  );
}

/** Queries the elements of `set` by their keys. Fails with ENOENT if one of them does not exist. */
export function elementRequest(table: Table, set: NftSet): Query {
  return query(
    NFT_MSG_GETSETELEM,
    `nft get element ${tableText(table)} ${set.name} ${elementsText(set)}`,
    tableHeader(table),
    { table: table.name, set: set.name, elements: wireElements(set).map(({ key, keyEnd }) => ({ key, keyEnd })) },
  );
}

/** Deletes the elements in the kernel that `isChosen` selects, from all sets of the table. */
export function deleteElements(
  table: Table,
  held: ReadonlyMap<string, readonly SetElement[]>,
  isChosen: (element: SetElement) => boolean,
): Request[] {
  return table.sets.flatMap(({ name }) => deleteFromSet(table, name, (held.get(name) ?? []).filter(isChosen)));
}

/** Deletes elements. Fails with ENOENT if one of the elements has been removed meanwhile. */
export function deleteFromSet(table: Table, set: string, elements: readonly SetElement[]): Request[] {
  return inMessages(elements.map(({ key, keyEnd }) => ({ key, keyEnd }))).map((keys) =>
    request(
      NFT_MSG_DELSETELEM,
      () => elementsObject(tableText(table), set, keys),
      `nft delete element ${tableText(table)} ${set} (${keys.length} of them)`,
      tableHeader(table),
      { table: table.name, set, elements: keys },
    ),
  );
}

/** Removes all elements of a set. */
export function flushSet(table: Table, set: string): Request {
  const name = tableText(table);
  const object = setObject(name, set);
  return request(NFT_MSG_DELSETELEM, object, `nft flush set ${name} ${set}`, tableHeader(table), {
    table: table.name,
    set,
  });
}

/** Splits elements into messages whose attributes stay below the maximum length. */
function inMessages(elements: readonly SetElement[]): SetElement[][] {
  const messages: SetElement[][] = [];
  for (let at = 0; at < elements.length; at += ELEMENTS_PER_MESSAGE) {
    messages.push(elements.slice(at, at + ELEMENTS_PER_MESSAGE));
  }
  return messages;
}

function addChain(table: Table, chain: Chain): Request {
  return request(
    NFT_MSG_NEWCHAIN,
    chainObject(tableText(table), chain.name),
    `nft add chain ${tableText(table)} ${chain.name}${chain.hook === undefined ? "" : ` { ${baseText(chain)} }`}`,
    tableHeader(table),
    { table: table.name, name: chain.name, ...(chain.hook === undefined ? {} : baseAttributes(chain)) },
    NLM_F_CREATE | NLM_F_EXCL,
  );
}

function baseAttributes({ type, hook, priority }: BaseChain) {
  return { hook: { number: NF_INET_HOOK[hook], priority: priority >>> 0 }, policy: VERDICT.accept, type };
}

function baseText({ type, hook, priority }: BaseChain): string {
  return `type ${type} hook ${hook} priority ${priority}; policy accept;`;
}

function addRule(table: Table, chain: Chain, rule: Rule): Request {
  const { comment } = rule;
  const expressions = rule.statements.flatMap((statement) => statement.expressions);
  return request(
    NFT_MSG_NEWRULE,
    () => ruleObject(tableText(table), chain.name, { expressions, comment }),
    `nft add rule ${tableText(table)} ${chain.name} ${ruleText(rule)}`,
    tableHeader(table),
    {
      table: table.name,
      chain: chain.name,
      expressions,
      userdata: commentUserdata(comment),
    },
    NLM_F_CREATE | NLM_F_APPEND,
  );
}

export function ruleText({ statements, comment }: Rule): string {
  return `${statements.map(({ text }) => text).join(" ")} comment "${comment}"`;
}

/** Formats a table as nft names it: "inet weft". */
export function tableText({ family, name }: Table): string {
  return `${family} ${name}`;
}

export function tableHeader({ family }: Table): { family: number } {
  return { family: NFPROTO[family] };
}
