/** Damage that other programs do to a table of weft's and around it. */
import fc from "fast-check";
import { NLM_F_CREATE, type Request } from "../../pkg/netlink/message.ts";
import {
  NFPROTO,
  NFT_MSG_DELRULE,
  NFT_MSG_DELSETELEM,
  NFT_MSG_DELTABLE,
  NFT_MSG_NEWSETELEM,
  NFT_MSG_NEWTABLE,
  type SetElement,
} from "../../pkg/netlink/nftables.ts";
import { elementDumps, readElements } from "../../pkg/nft/comparison.ts";
import type { FakeNftables } from "../../pkg/nft/fake-nftables.ts";
import { keyAttributes, type NftSet } from "../../pkg/nft/set.ts";
import { type Table, tableHeader } from "../../pkg/nft/table.ts";
import { answersTo } from "./answers.ts";
import { change } from "./change.ts";
import { chain, rule, STRANGERS } from "./strangers.ts";

type OfKind<K> = K extends string ? { readonly kind: K } : never;
/** `set` and `at` are indexes of a set and of one of its elements, modulo their number. */
type ToSet =
  | (OfKind<"set" | "stray"> & { readonly set: number })
  | (OfKind<"element" | "value"> & { readonly set: number; readonly at: number });
type ToTable = OfKind<"table" | "dormant" | "chain"> | (OfKind<"rules"> & { readonly chain: number }) | ToSet;
type Around = OfKind<"ruleset" | "forward"> | (OfKind<"arrival" | "departure"> & { readonly program: string });
export type Damage = ToTable | Around;

const number = fc.nat({ max: 5 });
const program = fc.constantFrom(...Object.keys(STRANGERS));
const kind = <K extends string>(name: K) => fc.constant(name);
export const damage: fc.Arbitrary<Damage> = fc.oneof(
  fc.record({ kind: kind("ruleset") }),
  fc.record({ kind: kind("forward") }),
  fc.record({ kind: kind("table") }),
  fc.record({ kind: kind("dormant") }),
  fc.record({ kind: kind("chain") }),
  fc.record({ kind: kind("rules"), chain: number }),
  fc.record({ kind: kind("set"), set: number }),
  fc.record({ kind: kind("stray"), set: number }),
  fc.record({ kind: kind("element"), set: number, at: number }),
  fc.record({ kind: kind("value"), set: number, at: number }),
  fc.record({ kind: kind("arrival"), program }),
  fc.record({ kind: kind("departure"), program }),
);

/** The table to damage, and the ruleset around it. */
export interface Target {
  readonly nftables: FakeNftables;
  readonly table: Table;
}

/** Applies each damage in turn; one whose object is absent does nothing. */
export function applyDamage(target: Target, ...damages: readonly Damage[]): void {
  for (const one of damages) {
    const requests = isAround(one) ? around(target, one) : toTable(target, one);
    if (requests.length === 0) continue;
    try {
      target.nftables.do(...requests);
    } catch (error) {
      if (!isOfHalfRange(one, error)) throw error;
    }
  }
}

/**
 * A range is two elements; once one of them is gone, the kernel does not find the other
 * (pkg/nft/fake/element-store.ts).
 */
function isOfHalfRange({ kind: what }: Damage, error: unknown): boolean {
  return (what === "element" || what === "value") && String(error).endsWith("errno 2");
}

function isAround(one: Damage): one is Around {
  return ["ruleset", "forward", "arrival", "departure"].includes(one.kind);
}

function isThere({ nftables }: Target, place: string): boolean {
  return nftables.list().some((line) => line.startsWith(`${place} `));
}

/** Chains of other programs that weft adds rules to. */
const FORWARD_CHAINS = [
  ["inet", "site", "forward"],
  ["ip", "filter", "FORWARD"],
  ["ip", "filter", "CNI-FORWARD"],
] as const;

function around(target: Target, one: Around): Request[] {
  switch (one.kind) {
    case "ruleset":
      return [change(NFT_MSG_DELTABLE, "flush ruleset", {}, {})];
    case "forward":
      return FORWARD_CHAINS.filter(([family, name, chain]) => isThere(target, `${family} ${name} chain ${chain}`)).map(
        ([family, name, chain]) => flushChain({ family, name }, chain),
      );
    case "arrival": {
      const isHere = tablesOf(one.program).some(({ family, name }) => isThere(target, `${family} ${name}`));
      return isHere ? [] : [...(STRANGERS[one.program] ?? [])];
    }
    case "departure":
      return tablesOf(one.program)
        .filter(({ family, name }) => isThere(target, `${family} ${name}`))
        .map(deleteTable);
  }
}

type TableName = Pick<Table, "family" | "name">;

function tablesOf(stranger: string): TableName[] {
  return (STRANGERS[stranger] ?? [])
    .map(({ text }) => text.split(" "))
    .filter(([verb, object]) => verb === "add" && object === "table")
    .map(([, , family = "", name = ""]) => ({ family: family as Table["family"], name }));
}

/** NFT_TABLE_F_DORMANT */
const DORMANT = 1;

function toTable(target: Target, one: ToTable): Request[] {
  const { table } = target;
  const { family, name } = table;
  if (!isThere(target, `${family} ${name}`)) return [];
  switch (one.kind) {
    case "table":
      return [deleteTable(table)];
    case "dormant":
      return [change(NFT_MSG_NEWTABLE, "dormant", tableHeader(table), { name, flags: DORMANT }, NLM_F_CREATE)];
    case "chain":
      return [chain(family, name, "stray"), rule(family, name, "stray", { kind: "counter", data: {} })];
    case "rules": {
      const { name: from = "" } = table.chains[one.chain % table.chains.length] ?? {};
      return isThere(target, `${family} ${name} chain ${from}`) ? [flushChain(table, from)] : [];
    }
    default:
      return toSet(target, one);
  }
}

function toSet(target: Target, one: ToSet): Request[] {
  const { table, nftables } = target;
  const set = table.sets[one.set % table.sets.length];
  if (set === undefined || !isThere(target, `${table.family} ${table.name} set ${set.name}`)) return [];
  if (one.kind === "set") return [deleteElements(table, set.name)];
  if (one.kind === "stray") return isPlain(set) ? [addElement(table, set.name, strayOf(set))] : [];
  const answers = answersTo(nftables, elementDumps({ ...table, sets: [set] }));
  const held = readElements(table, answers).get(set.name) ?? [];
  const element = held[one.at % Math.max(1, held.length)];
  if (element === undefined) return [];
  const { key, keyEnd, flags, data, userdata } = element;
  const removal = deleteElements(table, set.name, [{ key, keyEnd, flags }]);
  if (one.kind === "element") return [removal];
  if (data?.value === undefined) return [];
  const other = { key, keyEnd, userdata, data: { value: data.value.map(() => STRAY_BYTE) } };
  return [removal, addElement(table, set.name, other)];
}

const STRAY_BYTE = 0xcb;

/** A set of single keys without data. */
function isPlain(set: NftSet): boolean {
  return set.kind === "addresses" || (set.kind === "tuples" && set.hasRanges !== true && set.data === undefined);
}

function strayOf(set: NftSet): SetElement {
  return { key: { value: new Uint8Array(keyAttributes(set).keyLength).fill(STRAY_BYTE) } };
}

function addElement(table: Table, set: string, element: SetElement): Request {
  const attributes = { table: table.name, set, elements: [element] };
  return change(NFT_MSG_NEWSETELEM, "add element", tableHeader(table), attributes, NLM_F_CREATE);
}

/** Without `elements`, flushes the set. */
function deleteElements(table: Table, set: string, elements?: readonly SetElement[]): Request {
  return change(NFT_MSG_DELSETELEM, "delete element", tableHeader(table), { table: table.name, set, elements });
}

export function flushChain({ family, name }: TableName, chain: string): Request {
  return change(NFT_MSG_DELRULE, "flush chain", { family: NFPROTO[family] }, { table: name, chain });
}

export function deleteTable({ family, name }: TableName): Request {
  return change(NFT_MSG_DELTABLE, "delete table", { family: NFPROTO[family] }, { name });
}
