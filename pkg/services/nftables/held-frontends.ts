/**
 * What `table inet weft-services` says of frontends, read back without weftd: for people. Names of Services are not in it.
 * `layout.ts` has what the sets mean.
 */
import { SERVICES_TABLE } from "../../footprint.ts";
import { type Address, addressFromBytes, type Family } from "../../ip/address.ts";
import type { Look } from "../../netlink/look.ts";
import { decode, type Message } from "../../netlink/message.ts";
import { NFT_MSG_NEWSETELEM } from "../../netlink/nftables.ts";
import { elementDumps } from "../../nft/comparison.ts";
import { eachElement } from "../../nft/element-bytes.ts";
import type { Table } from "../../nft/table.ts";
import type { FrontendPolicy } from "../frontend.ts";
import { type Bytes, numberBytes } from "./bytes.ts";
import type { List } from "./parts.ts";
import { FAMILIES } from "./rule.ts";
import { FRONTEND_SETS } from "./sets.ts";

export interface HeldFrontend {
  readonly address: Address;
  /** IPPROTO_* */
  readonly protocol: number;
  readonly port: number;
  readonly isClusterIp: boolean;
  readonly policy: FrontendPolicy;
  /** In the order of their slots. */
  readonly endpoints: readonly HeldEndpoint[];
  /** Of policy `local`. */
  readonly localEndpoints: readonly HeldEndpoint[];
  readonly withoutEndpoint: "reject" | "drop" | undefined;
  readonly affinitySeconds: number | undefined;
  /** Not all sources are allowed. */
  readonly isFirewalled: boolean;
  /** New connections since the frontend stands: of each the first packet is counted. */
  readonly connections: number;
}

export interface HeldEndpoint {
  readonly address: Address;
  readonly port: number;
}

/** Sets that say nothing more about a frontend, or that serve affinity alone. */
const UNREAD = /^(?:hairpin|allowed-sources|affinity-ids|(?:local-)?sticky)[46]$/;
const TABLE: Table = {
  ...{ family: "inet", name: SERVICES_TABLE, comment: "", chains: [] },
  sets: FRONTEND_SETS.filter(({ name }) => !UNREAD.test(name)),
};

/** All frontends that the table has, in no order; none where there is no such table. */
export function* lookAtFrontends(): Look<HeldFrontend[]> {
  const seen = yield elementDumps(TABLE);
  const elements = new Map<string, Map<Bytes, Bytes>>(TABLE.sets.map(({ name }) => [name, new Map()]));
  eachElement(TABLE, seen, (set, key, data) => elements.get(set)?.set(key, data));
  const counts = readCounts(seen);
  return FAMILIES.flatMap((family) =>
    frontendsOf(family, (name) => elements.get(`${name}${family}`) ?? new Map(), counts),
  );
}

type Elements = (name: string) => ReadonlyMap<Bytes, Bytes>;

function frontendsOf(family: Family, elements: Elements, counts: ReadonlyMap<Bytes, number>): HeldFrontend[] {
  const length = family === 4 ? 4 : 16;
  return [...elements("connections").keys()].map((row) => {
    const has = (name: string) => elements(name).has(row);
    return {
      address: addressOf(row.slice(0, length)),
      protocol: row.charCodeAt(length),
      port: portOf(row, length + 4),
      isClusterIp: elements("cluster-ips").has(row.slice(0, length)),
      policy: has("local-policy") ? "local" : has("masqueraded") ? "cluster" : "internal",
      endpoints: endpointsOf(row, "", elements, length),
      localEndpoints: endpointsOf(row, "local-", elements, length),
      withoutEndpoint: has("rejected") ? "reject" : has("dropped") ? "drop" : undefined,
      affinitySeconds: numberAt(elements("affinity-seconds").get(row)),
      isFirewalled: has("firewalled"),
      connections: counts.get(row) ?? 0,
    };
  });
}

/** As many as the list's size says. */
function endpointsOf(row: Bytes, list: List, elements: Elements, length: number): HeldEndpoint[] {
  const size = numberAt(elements(`${list}frontends`).get(row)) ?? 0;
  const slots = elements(`${list}endpoints`);
  return Array.from({ length: size }, (_, at) => slots.get(row + numberBytes(at))).flatMap((data) =>
    data === undefined ? [] : [{ address: addressOf(data.slice(0, length)), port: portOf(data, length) }],
  );
}

/** Elements of `connections` with their counters. */
function readCounts(seen: readonly Message[]): ReadonlyMap<Bytes, number> {
  const counts = new Map<Bytes, number>();
  for (const message of seen) {
    if (message.type !== NFT_MSG_NEWSETELEM.type) continue;
    const { set = "", elements = [] } = decode(NFT_MSG_NEWSETELEM, message).attributes;
    if (!COUNTED.has(set)) continue;
    for (const { key, expression } of elements) {
      if (expression?.kind !== "counter" || key?.value === undefined) continue;
      counts.set(String.fromCharCode(...key.value), Number(expression.data?.packets ?? 0n));
    }
  }
  return counts;
}

const COUNTED: ReadonlySet<string> = new Set(FAMILIES.map((family) => `connections${family}`));

function addressOf(bytes: Bytes): Address {
  return addressFromBytes(Uint8Array.from(bytes, (character) => character.charCodeAt(0)));
}

function portOf(bytes: Bytes, at: number): number {
  return (bytes.charCodeAt(at) << 8) | bytes.charCodeAt(at + 1);
}

/** A number in the machine's own order; undefined where there is none. */
function numberAt(bytes: Bytes | undefined): number | undefined {
  if (bytes === undefined) return undefined;
  const [a = 0, b = 0, c = 0, d = 0] = [0, 1, 2, 3].map((at) => bytes.charCodeAt(at));
  return (a | (b << 8) | (c << 16) | (d << 24)) >>> 0;
}
