/**
 * The maps of `table inet weft_portmap`. Ports of one kind have their own maps, a layer, and the rules look up the
 * layers in order. This file defines the key of a port in each map.
 */
import { addressKey, type Family } from "../ip/address.ts";
import type { Prefix } from "../ip/prefix.ts";
import { addressSpan, commonSpan, prefixSpan } from "../ip/span.ts";
import { address, destinationPort, interfaceName, type Selector, transportProtocol } from "../nft/selector.ts";
import type { TupleElement, TupleSet } from "../nft/set.ts";
import type { Field, FieldValue } from "../nft/tuple.ts";
import { conditionBits, fieldSpan, spanField } from "./port-condition.ts";
import { type HostPort, hostPortKey, type PortMap, type PortMasquerade } from "./port-mapping.ts";

const PORT_BITS = 16;
const addressType = (family: Family) => `ipv${family}_addr` as const;

/** The maps for ports of one kind. */
export interface Layer {
  readonly hasAddress: boolean;
  readonly hasCondition: boolean;
  readonly ports: string;
  readonly masquerade: string;
  /** A description for comments. */
  readonly about: string;
}

/** In the order of lookup. */
export const LAYERS: readonly Layer[] = [true, false].flatMap((hasAddress) =>
  [true, false].map((hasCondition) => {
    const start = `${hasCondition ? "conditional-" : ""}${hasAddress ? "address-" : ""}`;
    const about = `of ${hasAddress ? "one address" : "all addresses"}${hasCondition ? ", for certain connections" : ""}`;
    return { hasAddress, hasCondition, ports: `${start}ports`, masquerade: `${start}masquerade`, about };
  }),
);

/** The name of a layer's map for a family. */
export const setName = (name: string, family: Family) => `${name}${family}`;

/** The name of the chain that sets this bit of a packet's mark; the masquerade maps jump to it. */
export const markChainName = (bit: number) => `mark-${bit}`;
export const MARK_CHAIN = /^mark-(\d+)$/;

/** One value for each of a layer's two maps. */
interface PerMap<T> {
  readonly ports: readonly T[];
  readonly masqueraded: readonly T[];
}

/** The selectors of the keys. */
export function layerSelectors({ hasAddress, hasCondition }: Layer, family: Family): PerMap<Selector> {
  const port = [transportProtocol, destinationPort];
  const [source, destination] = [address("saddr", family), address("daddr", family)];
  if (hasCondition) {
    const all = [...port, source, destination, interfaceName("iifname")];
    return { ports: all, masqueraded: all };
  }
  const host = hasAddress ? [destination, ...port] : port;
  return { ports: host, masqueraded: [...host, source] };
}

/** The types of the keys. */
export function layerFields({ hasAddress, hasCondition }: Layer, family: Family): PerMap<Field> {
  const port = ["inet_proto", "inet_service"] as const;
  const type = addressType(family);
  if (hasCondition) {
    const all = [...port, type, type, "ifname"] as const;
    return { ports: all, masqueraded: all };
  }
  const host = hasAddress ? [type, ...port] : port;
  return { ports: host, masqueraded: [...host, type] };
}

/** The two maps of a layer, with the matching elements of `map`. */
export function layerSets(layer: Layer, family: Family, { mappings, masquerades }: PortMap): [TupleSet, TupleSet] {
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
 * Merges adjacent ports into one entry. The kernel's time for each entry of such a map grows with the number of
 * entries, and a pod's ports are often a range. Entries with conditions are not merged.
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

/** Splits an element with a range of ports into one element for each port, as earlier versions of weft wrote them. */
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

/** With a condition, the sources are those of the condition that are also in `among`. */
function keyOf({ protocol, address: single, port, condition }: HostPort, family: Family, among?: Prefix): FieldValue[] {
  if (condition === undefined) return single === undefined ? [protocol, port] : [single, protocol, port];
  const bits = conditionBits(family);
  const source = among === undefined ? condition.source : commonSpan(condition.source, prefixSpan(among));
  if (source === undefined) throw new RangeError("the condition allows none of the masqueraded sources");
  const destination = single === undefined ? condition.destination : addressSpan(single);
  return [
    protocol,
    port,
    spanField(source, bits.source),
    spanField(destination, bits.destination),
    spanField(condition.inputInterface, bits.inputInterface),
  ];
}
