/**
 * Ports of the node that lead to pods, and the table that holds them. One table for all attachments of the node; each mapped
 * port has one element in a map, each source whose connections are masqueraded one in another, all with the attachment's
 * mark as comment.
 *
 * A connection to one of the node's own addresses goes through the chain `translate`: what needs the node's address as its
 * source gets a bit of the packet's mark (the pod itself and its neighbours, whose replies would not pass the node else,
 * and the node's loopback addresses), then the destination is translated. `postrouting` masquerades by that bit.
 *
 * A port of one address comes before the same port of all addresses, and a port of certain connections only before one of
 * all: the narrower one wins. Each of these layers has maps of its own, asked in turn; a translation ends the turn, so the
 * sources of one layer never concern another's ports. The layers with conditions are there only where ports use them.
 */
import { BEHIND_DSTNAT_PRIORITY, DEFAULT_MARK_BIT, POD_TABLE, RAW_PRIORITY, SRCNAT_PRIORITY } from "../footprint.ts";
import { type Address, addressKey, type Family } from "../ip/address.ts";
import { IPV4_LOOPBACK, type Prefix } from "../ip/prefix.ts";
import { addressSpan, commonSpan, prefixSpan, type Span } from "../ip/span.ts";
import type { Message } from "../netlink/message.ts";
import type { SetElement } from "../netlink/nftables.ts";
import { type ObservedTable, readElements } from "../nft/comparison.ts";
import {
  counter,
  destinationByMap,
  drop,
  jump,
  masquerade,
  matchAddress,
  matchFamily,
  matchLocalDestination,
  matchMark,
  matchNotFromLoopback,
  matchPrefix,
  matchTranslatedDestination,
  returnToCaller,
  type Statement,
  setMark,
  verdictByMap,
} from "../nft/expressions.ts";
import { address, destinationPort, interfaceName, type Selector, transportProtocol } from "../nft/selector.ts";
import { readTuple, type TupleElement, type TupleSet } from "../nft/set.ts";
import type { Chain, Rule, Table } from "../nft/table.ts";
import { type Field, type FieldValue, isPrefixValue } from "../nft/tuple.ts";
import { conditionBits, fieldSpan, nameSpan, type PortCondition, spanField } from "./port-condition.ts";

/** A port of the node as connections ask for it. */
export interface HostPort {
  /** IPPROTO_* */
  readonly protocol: number;
  /** One of the node's addresses; undefined for all of a family. */
  readonly address: Address | undefined;
  readonly port: number;
  /** Only these connections; with `address`, its destination holds that address. */
  readonly condition?: PortCondition;
}

/** Equal for the same port of the same addresses, whatever the condition. */
export function hostPortKey({ protocol, address: single, port }: HostPort): string {
  return `${protocol} ${port} ${single === undefined ? "" : addressKey(single)}`;
}

/** Where connections to a port of the node go; `owner` is the attachment's mark (at most 127 bytes). */
export interface PortMapping {
  readonly owner: string;
  readonly host: HostPort;
  /** Its family is the mapping's. */
  readonly target: Address;
  readonly targetPort: number;
}

/** Connections from `source` to a mapped port get the node's address as their source. */
export interface PortMasquerade {
  readonly owner: string;
  readonly host: HostPort;
  /** Where the entry is for all ports from `host.port` to this one. */
  readonly lastPort?: number;
  /** Its family is the mapping's. */
  readonly source: Prefix;
  /** The bit of the packet's mark that tells them: 0 to 31. */
  readonly markBit: number;
}

export interface PortMap {
  readonly mappings: readonly PortMapping[];
  readonly masquerades: readonly PortMasquerade[];
}

export const EMPTY_PORT_MAP: PortMap = { mappings: [], masquerades: [] };

const PORT_BITS = 16;

const FAMILIES = [4, 6] as const;
const addressType = (family: Family) => `ipv${family}_addr` as const;

/** What of the table is there only while it is used. */
export interface PortMapParts {
  /** Each has a chain and a rule. */
  readonly markBits: readonly number[];
  /** Families whose layers with conditions are there. */
  readonly conditional: readonly Family[];
}

export function partsOf({ mappings, masquerades }: PortMap): PortMapParts {
  const bits = new Set([DEFAULT_MARK_BIT, ...masquerades.map(({ markBit }) => markBit)]);
  const isConditional = (family: Family) =>
    mappings.some(({ host, target }) => host.condition !== undefined && target.family === family);
  return { markBits: [...bits].sort((a, b) => a - b), conditional: FAMILIES.filter(isConditional) };
}

/** What a table that was read back has of them. */
export function observedParts({ chains, sets }: ObservedTable): PortMapParts {
  const bits = chains.flatMap((name) => MARK_CHAIN.exec(name)?.[1] ?? []).map(Number);
  return {
    markBits: bits.sort((a, b) => a - b),
    conditional: FAMILIES.filter((family) => sets.includes(setName("conditional-ports", family))),
  };
}

export function hasParts(parts: PortMapParts, needed: PortMapParts): boolean {
  return (
    needed.markBits.every((bit) => parts.markBits.includes(bit)) &&
    needed.conditional.every((family) => parts.conditional.includes(family))
  );
}

/** `table inet weft_portmap`. Chains depend on the parts alone; ports are elements. */
export function portMapTable(map: PortMap, { markBits, conditional }: PortMapParts = partsOf(map)): Table {
  const layersOf = (family: Family) =>
    LAYERS.filter(({ hasCondition }) => !hasCondition || conditional.includes(family));
  return {
    family: "inet",
    name: POD_TABLE.portmap,
    comment: "weft: ports of the node that lead to pods",
    sets: FAMILIES.flatMap((family) => layersOf(family).flatMap((layer) => layerSets(layer, family, map))),
    chains: [
      ...markBits.map(markChain),
      { name: "translate", rules: FAMILIES.flatMap((family) => translationRules(family, layersOf(family))) },
      { ...natChain("prerouting"), rules: [translateRule] },
      { ...natChain("output"), rules: [translateRule] },
      {
        name: "postrouting",
        type: "nat",
        hook: "postrouting",
        priority: SRCNAT_PRIORITY,
        rules: markBits.map(masqueradeRule),
      },
      { name: "loopback", type: "filter", hook: "prerouting", priority: RAW_PRIORITY, rules: LOOPBACK_RULES },
    ],
  };
}

/** The table without ports, as it is where nothing special is used. */
export const PLAIN_TABLE_PARTS: PortMapParts = { markBits: [DEFAULT_MARK_BIT], conditional: [] };
/** With all its layers. */
export const WHOLE_TABLE_PARTS: PortMapParts = { markBits: [DEFAULT_MARK_BIT], conditional: FAMILIES };

const natChain = (hook: "prerouting" | "output") =>
  ({ name: hook, type: "nat", hook, priority: BEHIND_DSTNAT_PRIORITY }) as const;

const markChainName = (bit: number) => `mark-${bit}`;

function markChain(bit: number): Chain {
  return { name: markChainName(bit), rules: [{ comment: "to be masqueraded", statements: [setMark(1 << bit)] }] };
}

function masqueradeRule(bit: number): Rule {
  return {
    comment: `connections with bit ${bit} of their mark`,
    statements: [matchTranslatedDestination, matchMark(1 << bit), counter, masquerade({ fullyRandom: true })],
  };
}

const translateRule: Rule = {
  comment: "connections to the node's own addresses",
  statements: [matchLocalDestination, jump("translate")],
};

const IPV6_LOOPBACK: Address = { family: 6, value: 1n };

/** Ports of one kind, in maps of their own. */
interface Layer {
  readonly hasAddress: boolean;
  readonly hasCondition: boolean;
  readonly ports: string;
  readonly masquerade: string;
  /** In words. */
  readonly about: string;
}

/** In the order in which they are asked. */
const LAYERS: readonly Layer[] = [true, false].flatMap((hasAddress) =>
  [true, false].map((hasCondition) => {
    const start = `${hasCondition ? "conditional-" : ""}${hasAddress ? "address-" : ""}`;
    const about = `of ${hasAddress ? "one address" : "all addresses"}${hasCondition ? ", for certain connections" : ""}`;
    return { hasAddress, hasCondition, ports: `${start}ports`, masquerade: `${start}masquerade`, about };
  }),
);

const setName = (name: string, family: Family) => `${name}${family}`;

function translationRules(family: Family, layers: readonly Layer[]): Rule[] {
  const rule = (comment: string, ...statements: Statement[]): Rule => ({
    comment: `${comment}, IPv${family}`,
    statements: [matchFamily(family), ...statements],
  });
  return [
    // The kernel never routes ::1 to another device: refused at once is better than no answer.
    ...(family === 6 ? [rule("stays on the node", matchAddress("daddr", IPV6_LOOPBACK), returnToCaller)] : []),
    ...layers.flatMap((layer) => {
      const { ports, masqueraded } = layerSelectors(layer, family);
      return [
        rule(
          `need the node's address: ports ${layer.about}`,
          verdictByMap(masqueraded, setName(layer.masquerade, family)),
        ),
        rule(`ports ${layer.about}`, destinationByMap(family, ports, setName(layer.ports, family))),
      ];
    }),
  ];
}

/** Of the keys of a layer's two maps. */
interface PerMap<T> {
  readonly ports: readonly T[];
  readonly masqueraded: readonly T[];
}

/** What the maps are asked with. */
function layerSelectors({ hasAddress, hasCondition }: Layer, family: Family): PerMap<Selector> {
  const port = [transportProtocol, destinationPort];
  const [source, destination] = [address("saddr", family), address("daddr", family)];
  if (hasCondition) {
    const all = [...port, source, destination, interfaceName("iifname")];
    return { ports: all, masqueraded: all };
  }
  const host = hasAddress ? [destination, ...port] : port;
  return { ports: host, masqueraded: [...host, source] };
}

/** The types of their keys. */
function layerFields({ hasAddress, hasCondition }: Layer, family: Family): PerMap<Field> {
  const port = ["inet_proto", "inet_service"] as const;
  const type = addressType(family);
  if (hasCondition) {
    const all = [...port, type, type, "ifname"] as const;
    return { ports: all, masqueraded: all };
  }
  const host = hasAddress ? [type, ...port] : port;
  return { ports: host, masqueraded: [...host, type] };
}

/** What lets the node's loopback connections reach pods (route_localnet) would let others reach the node's loopback. */
const LOOPBACK_RULES = (["daddr", "saddr"] as const).map(
  (side): Rule => ({
    comment: `loopback addresses from elsewhere: ${side}`,
    statements: [matchNotFromLoopback, matchFamily(4), matchPrefix(side, IPV4_LOOPBACK), counter, drop],
  }),
);

function layerSets(layer: Layer, family: Family, { mappings, masquerades }: PortMap): [TupleSet, TupleSet] {
  const isIn = ({ address: single, condition }: HostPort) =>
    (single !== undefined) === layer.hasAddress && (condition !== undefined) === layer.hasCondition;
  const type = addressType(family);
  const fields = layerFields(layer, family);
  return [
    {
      kind: "tuples",
      name: setName(layer.ports, family),
      comment: `ports ${layer.about}`,
      fields: fields.ports,
      hasRanges: layer.hasCondition,
      data: [type, "inet_service"],
      elements: mappings
        .filter(({ target, host }) => target.family === family && isIn(host))
        .map(({ host, target, targetPort, owner }) => ({
          values: keyOf(host, family),
          data: [target, targetPort],
          comment: owner,
        })),
    },
    {
      kind: "tuples",
      name: setName(layer.masquerade, family),
      comment: `who gets the node's address as source: ports ${layer.about}`,
      fields: fields.masqueraded,
      hasRanges: true,
      data: "verdict",
      elements: joinPorts(masquerades.filter(({ source, host }) => source.address.family === family && isIn(host))).map(
        (entry) => ({
          values: masqueradeKey(entry, family),
          data: { jump: markChainName(entry.markBit) },
          comment: entry.owner,
        }),
      ),
    },
  ];
}

/**
 * Adjacent ports become one entry: the kernel takes time for each entry of such a map that grows with their number, and a
 * pod's ports are often a range. Entries with conditions stay as they are.
 */
function joinPorts(entries: readonly PortMasquerade[]): PortMasquerade[] {
  const rows = new Map<string, PortMasquerade[]>();
  const joined: PortMasquerade[] = [];
  for (const entry of entries) {
    if (entry.host.condition !== undefined) {
      joined.push(entry);
      continue;
    }
    const { owner, host, source, markBit } = entry;
    const key = `${hostPortKey({ ...host, port: 0 })} ${addressKey(source.address)}/${source.length} ${markBit} ${owner}`;
    const row = rows.get(key);
    if (row === undefined) rows.set(key, [entry]);
    else row.push(entry);
  }
  for (const row of rows.values()) {
    let current: PortMasquerade | undefined;
    for (const entry of row.sort((a, b) => a.host.port - b.host.port)) {
      const last = lastPortOf(entry);
      if (current !== undefined && entry.host.port <= lastPortOf(current) + 1) {
        current = { ...current, lastPort: Math.max(last, lastPortOf(current)) };
        continue;
      }
      if (current !== undefined) joined.push(current);
      current = entry;
    }
    if (current !== undefined) joined.push(current);
  }
  return joined;
}

const lastPortOf = ({ host, lastPort = host.port }: PortMasquerade) => lastPort;

function masqueradeKey(entry: PortMasquerade, family: Family): FieldValue[] {
  const { host, source } = entry;
  const { protocol, address: single, condition } = host;
  if (condition !== undefined) return keyOf(host, family, source);
  const last = lastPortOf(entry);
  const ports = last === host.port ? last : portRange(host.port, last);
  return single === undefined ? [protocol, ports, source] : [single, protocol, ports, source];
}

const portRange = (first: number, last: number) => spanField({ first: BigInt(first), last: BigInt(last) }, PORT_BITS);

/** An element for each port of an element whose key holds a range of ports: as weft made them before it joined ports. */
export function singlePorts({ fields }: TupleSet, element: TupleElement): TupleElement[] {
  const at = fields.indexOf("inet_service");
  const ports = element.values[at];
  if (typeof ports !== "object" || !("from" in ports)) return [element];
  const { first, last } = fieldSpan(ports);
  return Array.from({ length: Number(last - first) + 1 }, (_, index) => ({
    ...element,
    values: element.values.map((value, position) => (position === at ? Number(first) + index : value)),
  }));
}

/** With a condition, sources are those of it that are in `among`, too. */
function keyOf({ protocol, address: single, port, condition }: HostPort, family: Family, among?: Prefix): FieldValue[] {
  if (condition === undefined) return single === undefined ? [protocol, port] : [single, protocol, port];
  const bits = conditionBits(family);
  const source = among === undefined ? condition.source : commonSpan(condition.source, prefixSpan(among));
  if (source === undefined) throw new RangeError("a condition without any source that is masqueraded");
  const destination = single === undefined ? condition.destination : addressSpan(single);
  return [
    protocol,
    port,
    spanField(source, bits.source),
    spanField(destination, bits.destination),
    spanField(condition.inputInterface, bits.inputInterface),
  ];
}

/** What the elements tell; those of a shape that the table never had are passed over. */
export function portMapOf(elements: ReadonlyMap<string, readonly SetElement[]>): PortMap {
  const read = FAMILIES.flatMap((family) => LAYERS.map((layer) => readLayer(layer, family, elements)));
  return {
    mappings: read.flatMap(({ mappings }) => mappings),
    masquerades: read.flatMap(({ masquerades }) => masquerades),
  };
}

/** Of dumps of elements. */
export function readPortMap(dumped: readonly Message[]): PortMap {
  return portMapOf(readElements(portMapTable(EMPTY_PORT_MAP, WHOLE_TABLE_PARTS), dumped));
}

function readLayer(layer: Layer, family: Family, elements: ReadonlyMap<string, readonly SetElement[]>): PortMap {
  const [ports, masqueraded] = layerSets(layer, family, EMPTY_PORT_MAP);
  const tuples = (set: TupleSet) => (elements.get(set.name) ?? []).flatMap((element) => readTuple(set, element) ?? []);
  return {
    mappings: tuples(ports).flatMap((tuple) => readMapping(layer, family, tuple)),
    masquerades: tuples(masqueraded).flatMap((tuple) => readMasquerade(layer, family, tuple)),
  };
}

function readMapping(layer: Layer, family: Family, { values, data, comment }: TupleElement): PortMapping[] {
  const host = readHost(layer, values);
  if (comment === undefined || host === undefined || data === undefined || "jump" in data) return [];
  const [target, targetPort] = data;
  if (typeof targetPort !== "number" || !isAddressOf(family, target)) return [];
  return [{ owner: comment, host, target, targetPort }];
}

const MARK_CHAIN = /^mark-(\d+)$/;

function readMasquerade(layer: Layer, family: Family, { values, data, comment }: TupleElement): PortMasquerade[] {
  const bit = data !== undefined && "jump" in data ? MARK_CHAIN.exec(data.jump)?.[1] : undefined;
  const at = layerFields(layer, family).masqueraded.indexOf("inet_service");
  const ports = readSpan(values[at]);
  const first =
    ports === undefined ? values : values.map((value, index) => (index === at ? Number(ports.first) : value));
  const host = readHost(layer, first);
  // A condition holds the sources itself.
  const source = layer.hasCondition ? { address: { family, value: 0n }, length: 0 } : values.at(-1);
  if (comment === undefined || bit === undefined || host === undefined || !isPrefixValue(source)) return [];
  const lastPort = ports === undefined ? {} : { lastPort: Number(ports.last) };
  return [{ owner: comment, host, ...lastPort, source, markBit: Number(bit) }];
}

/** From the start of a key of the layer. */
function readHost({ hasAddress, hasCondition }: Layer, values: readonly FieldValue[]): HostPort | undefined {
  const [first, ...rest] = values;
  const [protocol, port, source, destination, inputInterface] = hasAddress && !hasCondition ? rest : [first, ...rest];
  if (typeof protocol !== "number" || typeof port !== "number") return undefined;
  if (!hasCondition) {
    const single = hasAddress ? singleAddress(first) : undefined;
    return hasAddress && single === undefined ? undefined : { protocol, address: single, port };
  }
  const condition = readCondition(source, destination, inputInterface);
  if (condition === undefined) return undefined;
  const single = hasAddress ? singleAddress(destination) : undefined;
  return hasAddress && single === undefined ? undefined : { protocol, address: single, port, condition };
}

function readCondition(...values: readonly (FieldValue | undefined)[]): PortCondition | undefined {
  const [source, destination, inputInterface] = values.map(readSpan);
  if (source === undefined || destination === undefined || inputInterface === undefined) return undefined;
  return { source, destination, inputInterface };
}

function readSpan(value: FieldValue | undefined): Span | undefined {
  if (typeof value === "string") return nameSpan(value, false);
  if (isPrefixValue(value)) return prefixSpan(value);
  return typeof value === "object" && "from" in value ? fieldSpan(value) : undefined;
}

/** Keys with ranges have a prefix of one address. */
function singleAddress(value: FieldValue | undefined): Address | undefined {
  if (isPrefixValue(value)) return value.address;
  return typeof value === "object" && "family" in value ? value : undefined;
}

function isAddressOf(family: Family, value: FieldValue | undefined): value is Address {
  return typeof value === "object" && "family" in value && value.family === family;
}

/** By the port of the node. */
export function mappingsByPort(mappings: readonly PortMapping[]): ReadonlyMap<number, readonly PortMapping[]> {
  const ports = new Map<number, PortMapping[]>();
  for (const mapping of mappings) {
    const { port } = mapping.host;
    const same = ports.get(port);
    if (same === undefined) ports.set(port, [mapping]);
    else same.push(mapping);
  }
  return ports;
}
