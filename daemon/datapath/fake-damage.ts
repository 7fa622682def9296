/** For tests: what other programs, and people, do to a table of weft's and around it. */
import fc from "fast-check";
import type { EventedNetlink } from "../../pkg/netlink/evented.ts";
import { NLM_F_CREATE, type Request, request } from "../../pkg/netlink/message.ts";
import {
  NFT_MSG_DELRULE,
  NFT_MSG_DELSETELEM,
  NFT_MSG_DELTABLE,
  NFT_MSG_NEWSETELEM,
  NFT_MSG_NEWTABLE,
  type SetElement,
} from "../../pkg/netlink/nftables.ts";
import { elementDumps, readElements } from "../../pkg/nft/comparison.ts";
import type { FakeNftables } from "../../pkg/nft/fake-nftables.ts";
import { keyAttributes } from "../../pkg/nft/set.ts";
import { type Table, tableHeader } from "../../pkg/nft/table.ts";
import { chain, rule, STRANGERS } from "./fake-strangers.ts";
import { readRuleset } from "./ruleset.ts";

type Simple<K> = K extends string ? { readonly kind: K } : never;
/** The number chooses among the table's sets, and `at` among the set's elements. */
type ToSet =
  | (Simple<"set" | "stray"> & { readonly set: number })
  | (Simple<"element" | "value"> & { readonly set: number; readonly at: number });
export type Damage =
  | Simple<"ruleset" | "table" | "dormant" | "chain">
  | ToSet
  | (Simple<"rules"> & { readonly chain: number })
  | (Simple<"arrival" | "departure"> & { readonly program: string });

const number = fc.nat({ max: 5 });
const program = fc.constantFrom(...Object.keys(STRANGERS));
const kind = <K extends string>(name: K) => fc.constant(name);
export const damage: fc.Arbitrary<Damage> = fc.oneof(
  fc.record({ kind: kind("ruleset") }),
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

/** One after the other. What meets nothing (a table that is gone already) does nothing. */
export async function applyDamage(
  nftables: FakeNftables,
  netlink: EventedNetlink,
  table: Table,
  damages: readonly Damage[],
): Promise<void> {
  for (const one of damages)
    for (const requests of await requestsOf(nftables, netlink, table, one)) nftables.do(...requests);
}

const DORMANT = 1;

async function requestsOf(
  nftables: FakeNftables,
  netlink: EventedNetlink,
  table: Table,
  one: Damage,
): Promise<readonly (readonly Request[])[]> {
  const { family, name } = table;
  const list = nftables.list();
  const isThere = (place: string) => list.some((line) => line.startsWith(`${place} `));
  switch (one.kind) {
    case "ruleset":
      return [[request(NFT_MSG_DELTABLE, "flush ruleset", {}, {})]];
    case "arrival": {
      // A table that is there, asleep or not, is this program's already.
      const isHere = placesOf(one.program).some(isThere);
      return isHere ? [] : [STRANGERS[one.program] ?? []];
    }
    case "departure":
      return placesOf(one.program).includes("inet firewalld") ? [] : departure(one.program, isThere);
  }
  if (!isThere(`${family} ${name}`)) return [];
  switch (one.kind) {
    case "table":
      return [[deleteTable(table)]];
    case "dormant":
      return [[request(NFT_MSG_NEWTABLE, "dormant", tableHeader(table), { name, flags: DORMANT }, NLM_F_CREATE)]];
    case "chain":
      return [[chain(family, name, "stray"), rule(family, name, "stray", { kind: "counter", data: {} })]];
    case "rules": {
      const { name: from } = table.chains[one.chain % table.chains.length] ?? { name: "" };
      const isHeld = isThere(`${family} ${name} chain ${from}`);
      return isHeld
        ? [[request(NFT_MSG_DELRULE, "flush chain", tableHeader(table), { table: name, chain: from })]]
        : [];
    }
    default:
      return elementDamage(netlink, table, isThere, one);
  }
}

async function elementDamage(
  netlink: EventedNetlink,
  table: Table,
  isThere: (place: string) => boolean,
  one: ToSet,
): Promise<readonly (readonly Request[])[]> {
  const set = table.sets[one.set % table.sets.length];
  const header = tableHeader(table);
  if (set === undefined || !isThere(`${table.family} ${table.name} set ${set.name}`)) return [];
  const place = { table: table.name, set: set.name };
  const added = (element: SetElement) =>
    request(NFT_MSG_NEWSETELEM, "add element", header, { ...place, elements: [element] }, NLM_F_CREATE);
  const deleted = (elements: readonly SetElement[] | undefined) =>
    request(NFT_MSG_DELSETELEM, "delete element", header, { ...place, elements });
  if (one.kind === "set") return [[deleted(undefined)]];
  const elements =
    readElements(table, await readRuleset(netlink, elementDumps({ ...table, sets: [set] }))).get(set.name) ?? [];
  const { keyLength, dataLength, dataType } = keyAttributes(set) as {
    keyLength: number;
    dataLength?: number;
    dataType?: number;
  };
  if (one.kind === "stray") {
    const isPlain = set.kind === "addresses" || (set.kind === "tuples" && set.hasRanges !== true);
    if (!isPlain || dataType !== undefined) return [];
    return [[added({ key: { value: new Uint8Array(keyLength).fill(0xcb) } })]];
  }
  const element = elements[one.at % Math.max(1, elements.length)];
  if (element === undefined) return [];
  if (one.kind === "element") return [[deleted([bare(element)])]];
  if (dataLength === undefined) return [];
  const { key, keyEnd, userdata } = element;
  const other = { key, keyEnd, userdata, data: { value: new Uint8Array(dataLength).fill(0xcb) } };
  return [[deleted([bare(element)]), added(other)]];
}

/** As it is removed. */
function bare({ key, keyEnd, flags }: SetElement): SetElement {
  return { key, keyEnd, flags };
}

export function deleteTable(table: Pick<Table, "family" | "name">): Request {
  return request(NFT_MSG_DELTABLE, "delete table", tableHeader(table as Table), { name: table.name });
}

const placesOf = (name: keyof typeof STRANGERS): string[] =>
  (STRANGERS[name] ?? [])
    .filter(({ text }) => text.startsWith("add table"))
    .map(({ text }) => text.slice("add table ".length));

function departure(name: keyof typeof STRANGERS, isThere: (place: string) => boolean): Request[][] {
  return placesOf(name)
    .filter(isThere)
    .map((place) => {
      const [family = "", table = ""] = place.split(" ");
      return [deleteTable({ family: family as Table["family"], name: table })];
    });
}
