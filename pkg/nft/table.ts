/**
 * An nf_tables table as data, and the one transaction that makes the kernel hold exactly it.
 */
import {
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
import type { Statement } from "./expressions.ts";
import { chainObject, elementsObject, ruleObject, setObject, tableObject } from "./object.ts";
import { elementsText, keyAttributes, keyText, type NftSet, stateAttributes, userdataOf, wireElements } from "./set.ts";
import { commentUserdata } from "./userdata.ts";

export interface Rule {
  readonly statements: readonly Statement[];
  readonly comment: string;
}

/** A base chain: the kernel enters it at its hook. Packets that no rule decides about are accepted. */
export interface BaseChain {
  readonly name: string;
  readonly type: "filter" | "nat" | "route";
  readonly hook: keyof typeof NF_INET_HOOK;
  /** nft's names are numbers, which depend on the family: srcnat is 100, in `bridge` 300. */
  readonly priority: number;
  readonly rules: readonly Rule[];
}

/** A chain that rules and elements jump to. */
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
}

/** nla_len holds 16 bits: with the longest comment 200 elements take 48 KiB. */
const ELEMENTS_PER_MESSAGE = 200;

/** The table and all in it, in one batch: whatever stood under this name before is gone with the same commit. */
export function replaceTable(table: Table): Request[] {
  // Deleting is refused where there is nothing, so the table is made sure of first.
  return [addTable(table), deleteTable(table), addTable(table), ...fillTable(table)];
}

/** The same where no such table is: EEXIST otherwise, so that of two that create it at once one learns of the other. */
export function createTable(table: Table): Request[] {
  return [addTable(table, NLM_F_EXCL), ...fillTable(table)];
}

/** Removes the table with all that is in it, where it is. */
export function removeTable(table: Table): Request[] {
  return [addTable(table), deleteTable(table)];
}

/** All rules anew, and those chains that are not `present`. Sets and their elements stay as they are. */
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

/** What may stay of a table that is there, and what of it has to go, by names. */
export interface TableRemains {
  readonly chains: ReadonlySet<string>;
  readonly sets: ReadonlySet<string>;
  readonly goneChains: readonly string[];
  readonly goneSets: readonly string[];
}

/**
 * The table and all in it but elements, where it is there with other sets or chains: sets that may stay keep their elements.
 * Maps of verdicts are emptied, so that no chain is held.
 */
export function rebuildTable(table: Table, { chains, sets, goneChains, goneSets }: TableRemains): Request[] {
  const name = tableText(table);
  const header = tableHeader(table);
  const of = (set: string) => ({ table: table.name, name: set });
  const verdicts = table.sets.filter((set) => sets.has(set.name) && set.kind === "tuples" && set.data === "verdict");
  return [
    flushRules(table),
    ...[...verdicts.map((set) => set.name), ...goneSets].map((set) => flushSet(table, set)),
    ...goneSets.map((set) =>
      request(NFT_MSG_DELSET, setObject(name, set), `nft delete set ${name} ${set}`, header, of(set)),
    ),
    ...goneChains.map((chain) =>
      request(NFT_MSG_DELCHAIN, chainObject(name, chain), `nft delete chain ${name} ${chain}`, header, of(chain)),
    ),
    ...table.sets.flatMap((set, index) => (sets.has(set.name) ? [] : [addSet(table, set, index + 1)])),
    ...missingChainsAndRules(table, chains),
  ];
}

/** A chain with its rules. */
export function addWholeChain(table: Table, chain: Chain): Request[] {
  return [addChain(table, chain), ...addRules(table, chain)];
}

/** The rules of a chain that is there, and empty. */
export function addRules(table: Table, chain: Chain): Request[] {
  return chain.rules.map((rule) => addRule(table, chain, rule));
}

function fillTable(table: Table): Request[] {
  // Rules refer to sets and chains, elements of maps to chains: those come first.
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
    { name: table.name, flags: 0, userdata: commentUserdata(table.comment) },
    NLM_F_CREATE | exclusive,
  );
}

/** With `handle` only that very table: ENOENT when another has come in its place. */
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

/** EEXIST when an element is there already, whatever its comment; with `exclusive: false` it stays as it is. */
export function addElements(
  table: Table,
  set: NftSet,
  { exclusive = true }: { readonly exclusive?: boolean } = {},
): Request[] {
  const where = `${tableText(table)} ${set.name}`;
  return inMessages(wireElements(set)).map((elements) =>
    request(
      NFT_MSG_NEWSETELEM,
      () => elementsObject(tableText(table), set.name, elements),
      `nft ${exclusive ? "create" : "add"} element ${where} ${elementsText(set)}`,
      tableHeader(table),
      { table: table.name, set: set.name, elements },
      NLM_F_CREATE | (exclusive ? NLM_F_EXCL : 0),
    ),
  );
}

/** Asks for the elements that `set` names, by their keys; ENOENT where one of them is absent. */
export function elementRequest(table: Table, set: NftSet): Query {
  return query(
    NFT_MSG_GETSETELEM,
    `nft get element ${tableText(table)} ${set.name} ${elementsText(set)}`,
    tableHeader(table),
    { table: table.name, set: set.name, elements: wireElements(set).map(({ key, keyEnd }) => ({ key, keyEnd })) },
  );
}

/** Those of the table's sets that `isChosen` names of what the kernel holds. */
export function deleteElements(
  table: Table,
  held: ReadonlyMap<string, readonly SetElement[]>,
  isChosen: (element: SetElement) => boolean,
): Request[] {
  return table.sets.flatMap(({ name }) => deleteFromSet(table, name, (held.get(name) ?? []).filter(isChosen)));
}

/** ENOENT when one of the elements is gone meanwhile. */
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

/** Elements in messages that stay below what an attribute can hold. */
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

/** "inet weft", as nft names a table. */
export function tableText({ family, name }: Table): string {
  return `${family} ${name}`;
}

export function tableHeader({ family }: Table): { family: number } {
  return { family: NFPROTO[family] };
}
