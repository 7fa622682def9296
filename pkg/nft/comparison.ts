/**
 * Reads a table back and compares it with the wanted one. Ignores handles, counters, and the order of sets and
 * elements.
 */
import { decode, dumpRequest, type Message, type MessageType, type Query, query } from "../netlink/message.ts";
import {
  NF_INET_HOOK,
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
  type SetElement,
  VERDICT,
} from "../netlink/nftables.ts";
import { canonical, isSameMeaning, shapeOfRule } from "./meaning.ts";
import { keyAttributes, type NftSet, stateAttributes, type TupleElement, type TupleSet, wireElements } from "./set.ts";
import { type Chain, type Table, tableHeader, tableText } from "./table.ts";
import { readComment, readSetComment } from "./userdata.ts";

/**
 * The queries whose answers `readTable` and `isSameTable` need; their order does not matter. The kernel answers ENOENT
 * for a missing object, and the table then differs from the wanted one. Sets that `hasElements` excludes read as empty.
 *
 * A dump of tables or chains covers a family and may contain thousands of other programs' chains, so these queries
 * select tables and chains by name. An unexpected chain shows in the table's use count (`use`).
 */
export function tableQuestions(table: Table, hasElements: (set: NftSet) => boolean = () => true): Query[] {
  const header = tableHeader(table);
  const name = tableText(table);
  return [
    query(NFT_MSG_GETTABLE, `nft list table ${name} (without contents)`, header, { name: table.name }),
    ...table.chains.map((chain) => chainQuestion(table, chain.name)),
    dumpRequest(NFT_MSG_GETRULE, `nft list table ${name}`, header, { table: table.name }),
    setsDump(table),
    ...elementDumps({ ...table, sets: table.sets.filter(hasElements) }),
  ];
}

/** Queries one chain of the table, without its rules. */
export function chainQuestion(table: Table, name: string): Query {
  const text = `nft list chain ${tableText(table)} ${name} (without rules)`;
  return query(NFT_MSG_GETCHAIN, text, tableHeader(table), { table: table.name, name });
}

/** Dumps the sets of a table, without their elements. Fails with ENOENT if the table does not exist. */
export function setsDump(table: Table): Query {
  const header = tableHeader(table);
  return dumpRequest(NFT_MSG_GETSET, `nft list sets table ${tableText(table)}`, header, { table: table.name });
}

/** The dumps that `readElements` needs. They fail with ENOENT if the table or set does not exist. */
export function elementDumps(table: Table): Query[] {
  return table.sets.map((set) =>
    dumpRequest(NFT_MSG_GETSETELEM, `nft list set ${tableText(table)} ${set.name}`, tableHeader(table), {
      table: table.name,
      set: set.name,
    }),
  );
}

/** A table as read from the kernel, in a form that can be compared as text. */
export interface ObservedTable {
  readonly handle: bigint;
  /** The chains with their rules, and the sets, as text. */
  readonly shape: string;
  readonly form: Form;
  readonly elements: ReadonlyMap<string, readonly SetElement[]>;
  /** The names of the queried chains. */
  readonly chains: readonly string[];
  /** The names of other chains that have rules. */
  readonly otherChains: readonly string[];
  readonly sets: readonly string[];
}

/**
 * The cache of `readTable`, by dump and by the table's family and name: a comparison reads one table once for each
 * attachment.
 */
const READ = new WeakMap<readonly Message[], Map<string, ObservedTable | undefined>>();

/** Parses the answers to `tableQuestions`, ignoring other messages. Returns `undefined` if the table does not exist. */
export function readTable(wanted: Table, messages: readonly Message[]): ObservedTable | undefined {
  const tables = READ.get(messages) ?? new Map<string, ObservedTable | undefined>();
  READ.set(messages, tables);
  const name = tableText(wanted);
  if (!tables.has(name)) tables.set(name, parseTable(wanted, messages));
  return tables.get(name);
}

function parseTable(wanted: Table, messages: readonly Message[]): ObservedTable | undefined {
  const all = <H extends { family: number }, A>(type: MessageType<H, A>): A[] => ofFamily(wanted, type, messages);
  const table = all(NFT_MSG_NEWTABLE).find(({ name }) => name === wanted.name);
  if (table === undefined) return undefined;
  const rules = all(NFT_MSG_NEWRULE).filter((rule) => rule.table === wanted.name);
  const rulesOf = new Map<string, typeof rules>();
  for (const rule of rules) {
    const known = rulesOf.get(rule.chain ?? "");
    if (known === undefined) rulesOf.set(rule.chain ?? "", [rule]);
    else known.push(rule);
  }
  const chains = all(NFT_MSG_NEWCHAIN)
    .filter((chain) => chain.table === wanted.name)
    .map(({ name = "", hook, type, policy, userdata }) => ({
      name,
      base: hook === undefined ? [] : [hook.number, hook.priority, type, policy],
      comment: readComment(userdata),
      rules: (rulesOf.get(name) ?? []).map((rule) => shapeOfRule(rule.expressions ?? [], readComment(rule.userdata))),
    }));
  const sets = all(NFT_MSG_NEWSET)
    .filter((set) => set.table === wanted.name)
    .map((set) => shapeOfSet({ ...set, name: set.name ?? "" }, readSetComment(set.userdata)));
  const form = {
    flags: table.flags ?? 0,
    comment: readComment(table.userdata),
    use: table.use ?? 0,
    chains,
    sets,
  };
  let shape: string | undefined;
  return {
    handle: table.handle ?? 0n,
    get shape() {
      shape ??= shapeText(form);
      return shape;
    },
    form,
    elements: readElements(wanted, messages),
    chains: chains.map(({ name }) => name),
    otherChains: otherChains(chains, rules),
    sets: sets.map(({ name }) => name),
  };
}

function otherChains(
  known: readonly { readonly name: string }[],
  rules: readonly { readonly chain?: string | undefined }[],
): string[] {
  const names = new Set(rules.flatMap(({ chain }) => chain ?? []));
  for (const { name } of known) names.delete(name);
  return [...names];
}

/** The elements of the table's sets, by the set's name. */
export function readElements(table: Table, messages: readonly Message[]): ReadonlyMap<string, readonly SetElement[]> {
  const elements = new Map<string, SetElement[]>();
  for (const list of ofFamily(table, NFT_MSG_NEWSETELEM, messages)) {
    if (list.table !== table.name || list.set === undefined) continue;
    const known = elements.get(list.set) ?? [];
    // Append in place: a dump of many elements consists of many messages, and a new list for each would take quadratic
    // time.
    for (const element of list.elements ?? []) known.push(element);
    elements.set(list.set, known);
  }
  return elements;
}

function ofFamily<H extends { family: number }, A>(
  table: Table,
  type: MessageType<H, A>,
  messages: readonly Message[],
): A[] {
  const { family } = tableHeader(table);
  return messages
    .filter((message) => message.type === type.type)
    .map((message) => decode(type, message))
    .filter(({ header }) => header.family === family)
    .map(({ attributes }) => attributes);
}

/** True if the kernel has exactly the wanted chains, rules, sets and elements. */
export function isSameTable(wanted: Table, messages: readonly Message[]): boolean {
  const observed = readTable(wanted, messages);
  if (observed === undefined || !hasSameShape(wanted, observed)) return false;
  return wanted.sets.every((set) => hasSameElements(set, observed));
}

/** True if the kernel has exactly the elements of `set`. */
export function hasSameElements(set: NftSet, { elements }: ObservedTable): boolean {
  const held = elements.get(set.name) ?? [];
  const wanted = wireElements(set);
  return held.length === wanted.length && holdsAll(held, wanted);
}

/** Like `isSameTable`, but ignores elements. */
export function hasSameShape(wanted: Table, observed: ObservedTable): boolean {
  return shapeText(wantedForm(wanted)) === observed.shape;
}

function wantedForm(wanted: Table): Form {
  return {
    flags: 0,
    comment: wanted.comment,
    use: wanted.chains.length + wanted.sets.length,
    chains: wanted.chains.map(wantedChain),
    sets: wanted.sets.map(wantedSet),
  };
}

/**
 * Compares the shape of an observed table with the wanted one, ignoring elements. Returns "none" if they are equal;
 * "rules" if only rules differ or chains are missing, so that sets and their elements may stay (`replaceRules`);
 * otherwise "table".
 */
export function shapeDifference(wanted: Table, observed: ObservedTable): "none" | "rules" | "table" {
  if (hasSameShape(wanted, observed)) return "none";
  const { form } = observed;
  const { flags, comment, sets, chains } = wantedForm(wanted);
  const bases = new Map(chains.map((chain) => [chain.name, canonical({ ...chain, rules: [] })]));
  const isSameOutside =
    shapeText({ ...form, chains: [] }) === shapeText({ flags, comment, sets, use: form.use, chains: [] });
  const areChainsKnown =
    form.use === form.chains.length + form.sets.length &&
    form.chains.every((chain) => bases.get(chain.name) === canonical({ ...chain, rules: [] }));
  return isSameOutside && areChainsKnown ? "rules" : "table";
}

/**
 * The parts of an observed table that may stay when the rest is replaced: the names of chains and sets that are as
 * wanted, apart from their rules.
 */
export interface Reusable {
  readonly chains: ReadonlySet<string>;
  readonly sets: ReadonlySet<string>;
}

/** Undefined if the table contains something whose name is unknown, such as a chain without rules or an object. */
export function reusableParts(wanted: Table, { form, otherChains }: ObservedTable): Reusable | undefined {
  const { flags, comment, sets, chains } = wantedForm(wanted);
  const isKnown = form.use === form.chains.length + otherChains.length + form.sets.length;
  if (!isKnown || form.flags !== flags || form.comment !== comment) return undefined;
  const alike = (all: readonly object[], held: readonly { readonly name: string }[]) => {
    const texts = new Set(all.map((one) => canonical({ ...one, rules: [] })));
    return new Set(held.filter((one) => texts.has(canonical({ ...one, rules: [] }))).map(({ name }) => name));
  };
  return { chains: alike(chains, form.chains), sets: alike(sets, form.sets) };
}

/** The differences between the parts of a table and the wanted ones, by name. Elements are not compared. */
export interface PartDifferences {
  readonly missingChains: ReadonlySet<string>;
  /** Chains with other rules. */
  readonly changedChains: ReadonlySet<string>;
  readonly missingSets: ReadonlySet<string>;
  readonly otherChains: readonly string[];
  readonly otherSets: readonly string[];
}

/**
 * Compares the parts of a table. Undefined if parts cannot be repaired one by one: if a chain has another hook, a set
 * has another type, or the table contains something whose name is unknown.
 */
export function partDifferences(wanted: Table, observed: ObservedTable): PartDifferences | undefined {
  const reusable = reusableParts(wanted, observed);
  if (reusable === undefined) return undefined;
  const { form } = observed;
  const { chains, sets } = wantedForm(wanted);
  const names = (list: readonly { readonly name: string }[]) => new Set(list.map(({ name }) => name));
  const [wantedChains, wantedSets] = [names(chains), names(sets)];
  const isRepairable =
    form.chains.every(({ name }) => reusable.chains.has(name)) &&
    form.sets.every(({ name }) => reusable.sets.has(name) || !wantedSets.has(name));
  if (!isRepairable) return undefined;
  const held = new Map(form.chains.map(({ name, rules }) => [name, rules]));
  return {
    missingChains: without(wantedChains, names(form.chains)),
    changedChains: names(chains.filter(({ name, rules }) => held.has(name) && !isSameMeaning(rules, held.get(name)))),
    missingSets: without(wantedSets, names(form.sets)),
    otherChains: observed.otherChains,
    otherSets: observed.sets.filter((name) => !wantedSets.has(name)),
  };
}

function without(names: ReadonlySet<string>, others: ReadonlySet<string>): Set<string> {
  return new Set([...names].filter((name) => !others.has(name)));
}

export interface Form {
  readonly flags: number;
  readonly comment: string | undefined;
  /** The use count. It includes objects that were not read: other chains, objects, flow tables. */
  readonly use: number;
  readonly chains: readonly { readonly name: string; readonly rules: readonly unknown[] }[];
  readonly sets: readonly { readonly name: string }[];
}

function shapeText(shape: Form): string {
  const byName = (a: { name: string }, b: { name: string }) => (a.name < b.name ? -1 : 1);
  return canonical({ ...shape, chains: [...shape.chains].sort(byName), sets: [...shape.sets].sort(byName) });
}

function wantedChain(chain: Chain) {
  return {
    name: chain.name,
    base: chain.hook === undefined ? [] : [NF_INET_HOOK[chain.hook], chain.priority >>> 0, chain.type, VERDICT.accept],
    rules: chain.rules.map(({ statements, comment }) =>
      shapeOfRule(
        statements.flatMap(({ expressions }) => expressions),
        comment,
      ),
    ),
  };
}

function wantedSet(set: NftSet) {
  return shapeOfSet({ name: set.name, ...keyAttributes(set), ...stateAttributes(set) }, set.comment);
}

interface SetKey {
  readonly name: string;
  readonly flags?: number | undefined;
  readonly keyType?: number | undefined;
  readonly keyLength?: number | undefined;
  /**
   * The data type of a map. The length of the data is not compared, because only the kernel knows the length of a
   * verdict.
   */
  readonly dataType?: number | undefined;
  readonly timeout?: bigint | undefined;
  readonly description?: { readonly size?: number | undefined } | undefined;
  readonly expression?: { readonly kind: string } | undefined;
}

function shapeOfSet(set: SetKey, comment: string | undefined) {
  const { name, flags, keyType, keyLength, dataType, timeout, description, expression } = set;
  const state = { timeout: timeout || undefined, size: description?.size, expression: expression?.kind };
  return { name, flags, keyType, keyLength, dataType, comment, ...state };
}

/** True if `held` contains all of the set's elements, with their data and comments. */
export function holdsElements(set: NftSet, held: readonly SetElement[]): boolean {
  return holdsAll(held, wireElements(set));
}

function holdsAll(held: readonly SetElement[], wanted: readonly SetElement[]): boolean {
  const keys = keysOf(held);
  return wanted.every((element) => keys.has(elementKey(element)));
}

/** The set's elements that `held` lacks or has with other data or another comment. Takes linear time. */
export function absentElements(set: TupleSet, held: readonly SetElement[]): readonly TupleElement[] {
  const keys = keysOf(held);
  const wire = wireElements(set).map(elementKey);
  return set.elements.filter((_, at) => !keys.has(wire[at] ?? ""));
}

/** A cache by list: one list of elements is compared with each attachment's part of the set. */
const KEYS = new WeakMap<readonly SetElement[], ReadonlySet<string>>();

function keysOf(elements: readonly SetElement[]): ReadonlySet<string> {
  const keys = KEYS.get(elements) ?? new Set(elements.map(elementKey));
  KEYS.set(elements, keys);
  return keys;
}

/**
 * Equal for elements with the same key, end of range, data and comment. Sets may have thousands of elements, and most
 * elements have only a key.
 */
export function elementKey({ key, keyEnd, flags, data, userdata }: SetElement): string {
  const text = `${key?.value?.join()} ${keyEnd?.value?.join() ?? ""} ${flags || ""} ${readComment(userdata) ?? ""}`;
  return data === undefined ? text : `${text} ${canonical(data)}`;
}
