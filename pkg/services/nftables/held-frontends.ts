/**
 * Reads frontends back from `table inet weft-services`, without weftd, for people. The table does not contain the names
 * of Services. `layout.ts` describes the sets.
 */
import type { Protocol } from "../../cluster/service/service.ts";
import { SERVICES_TABLE } from "../../footprint.ts";
import { type Address, addressFromBytes, type Family } from "../../ip/address.ts";
import type { Look } from "../../netlink/look.ts";
import { decode, type Message } from "../../netlink/message.ts";
import { NFT_MSG_NEWSETELEM } from "../../netlink/nftables.ts";
import { elementDumps } from "../../nft/comparison.ts";
import { eachElement } from "../../nft/element-bytes.ts";
import { FAMILIES } from "../../nft/family-rule.ts";
import { numberBytes } from "../../nft/key-bytes.ts";
import type { Table } from "../../nft/table.ts";
import type { FrontendPolicy } from "../frontend.ts";
import type { Bytes } from "./bytes.ts";
import type { List } from "./parts.ts";
import { FRONTEND_SETS } from "./sets.ts";

export interface HeldPlace {
  readonly address: Address;
  readonly protocol: Protocol;
  readonly port: number;
}

export interface HeldFrontend extends HeldPlace {
  readonly isClusterIp: boolean;
  readonly policy: FrontendPolicy;
  /** In the order of their slots. */
  readonly endpoints: readonly HeldEndpoint[];
  /** For policy `local`. */
  readonly localEndpoints: readonly HeldEndpoint[];
  readonly withoutEndpoint: "reject" | "drop" | undefined;
  readonly affinitySeconds: number | undefined;
  /** True if only some sources are allowed. */
  readonly isFirewalled: boolean;
  /** The number of new connections since the frontend was programmed; the kernel counts the first packet of each. */
  readonly connections: number;
}

export interface HeldEndpoint {
  readonly address: Address;
  readonly port: number;
}

/** Sets that contain nothing more about a frontend, or that serve only affinity. */
const UNREAD = /^(?:hairpin|allowed-sources|affinity-ids|(?:local-)?sticky)[46]$/;
const TABLE: Table = {
  ...{ family: "inet", name: SERVICES_TABLE, comment: "", chains: [] },
  sets: FRONTEND_SETS.filter(({ name }) => !UNREAD.test(name)),
};

/** Reads all frontends in the table, in any order; none if the table does not exist. */
export function* lookAtFrontends(): Look<HeldFrontend[]> {
  const isCounted = ({ name }: { readonly name: string }) => COUNTED.has(name);
  const counted = yield elementDumps({ ...TABLE, sets: TABLE.sets.filter(isCounted) });
  const seen = [...counted, ...(yield elementDumps({ ...TABLE, sets: TABLE.sets.filter((set) => !isCounted(set)) }))];
  const elements = new Map<string, Map<Bytes, Bytes>>(TABLE.sets.map(({ name }) => [name, new Map()]));
  eachElement(TABLE, seen, (set, key, data) => elements.get(set)?.set(key, data));
  const counts = readCounts(counted);
  return FAMILIES.flatMap((family) =>
    frontendsOf(family, (name) => elements.get(`${name}${family}`) ?? new Map(), counts),
  );
}

/** Reads only address, protocol and port of each frontend, which are a small part of the table. */
export function* lookAtPlaces(): Look<HeldPlace[]> {
  const table = { ...TABLE, sets: TABLE.sets.filter(({ name }) => COUNTED.has(name)) };
  const seen = yield elementDumps(table);
  const places: HeldPlace[] = [];
  eachElement(table, seen, (set, row) => places.push(placeOf(row, set.endsWith("4") ? 4 : 16)));
  return places;
}

function placeOf(row: Bytes, length: number): HeldPlace {
  return {
    address: addressOf(row.slice(0, length)),
    protocol: row.charCodeAt(length) as Protocol,
    port: portOf(row, length + 4),
  };
}

type Elements = (name: string) => ReadonlyMap<Bytes, Bytes>;

function frontendsOf(family: Family, elements: Elements, counts: ReadonlyMap<Bytes, number>): HeldFrontend[] {
  const length = family === 4 ? 4 : 16;
  return [...elements("connections").keys()].map((row) => {
    const has = (name: string) => elements(name).has(row);
    return {
      ...placeOf(row, length),
      isClusterIp: elements("cluster-ips").has(row.slice(0, length)),
      policy: has("local-policy") ? "local" : has("external") ? "cluster" : "internal",
      endpoints: endpointsOf(row, "", elements, length),
      localEndpoints: endpointsOf(row, "local-", elements, length),
      withoutEndpoint: has("dropped") ? "drop" : has("unanswered") ? "reject" : undefined,
      affinitySeconds: numberAt(elements("affinity-seconds").get(row)),
      isFirewalled: has("firewalled"),
      connections: counts.get(row) ?? 0,
    };
  });
}

/** The number of endpoints is the list's size. */
function endpointsOf(row: Bytes, list: List, elements: Elements, length: number): HeldEndpoint[] {
  const maps = [...(list === "" ? ["internal-frontends"] : []), `${list}frontends`, `${list}sizes`];
  const size = numberAt(maps.map((map) => elements(map).get(row)).find((data) => data !== undefined)) ?? 0;
  const slots = elements(`${list}endpoints`);
  return Array.from({ length: size }, (_, at) => slots.get(row + numberBytes(at))).flatMap((data) =>
    data === undefined ? [] : [{ address: addressOf(data.slice(0, length)), port: portOf(data, length) }],
  );
}

/** The counters of the elements of `connections`. */
function readCounts(seen: readonly Message[]): ReadonlyMap<Bytes, number> {
  const counts = new Map<Bytes, number>();
  for (const message of seen) {
    if (message.type !== NFT_MSG_NEWSETELEM.type) continue;
    const { elements = [] } = decode(NFT_MSG_NEWSETELEM, message).attributes;
    for (const { key, expression } of elements) {
      if (expression?.kind !== "counter" || key?.value === undefined) continue;
      counts.set(String.fromCharCode(...key.value), Number(expression.data?.packets ?? 0n));
    }
  }
  return counts;
}

/**
 * The only sets whose counters are read: decoding an element with the codec costs ten times as much as reading it as
 * bytes.
 */
const COUNTED: ReadonlySet<string> = new Set(FAMILIES.map((family) => `connections${family}`));

function addressOf(bytes: Bytes): Address {
  return addressFromBytes(Uint8Array.from(bytes, (character) => character.charCodeAt(0)));
}

function portOf(bytes: Bytes, at: number): number {
  return (bytes.charCodeAt(at) << 8) | bytes.charCodeAt(at + 1);
}

/** A number in host byte order; undefined if there is none. */
function numberAt(bytes: Bytes | undefined): number | undefined {
  if (bytes === undefined) return undefined;
  const [a = 0, b = 0, c = 0, d = 0] = [0, 1, 2, 3].map((at) => bytes.charCodeAt(at));
  return (a | (b << 8) | (c << 16) | (d << 24)) >>> 0;
}
