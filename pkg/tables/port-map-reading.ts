/** Parses the elements of `table inet weft_portmap` into ports and masquerades. */
import type { Address, Family } from "../ip/address.ts";
import { prefixSpan, type Span } from "../ip/span.ts";
import type { Message } from "../netlink/message.ts";
import type { SetElement } from "../netlink/nftables.ts";
import { readElements } from "../nft/comparison.ts";
import { readTuple, type TupleElement, type TupleSet } from "../nft/set.ts";
import { type FieldValue, isPrefixValue } from "../nft/tuple.ts";
import { fieldSpan, nameSpan, type PortCondition } from "./port-condition.ts";
import { LAYERS, type Layer, layerFields, layerSets, MARK_CHAIN } from "./port-map-layers.ts";
import { FAMILIES, portMapTable, WHOLE_TABLE_PARTS } from "./port-map-table.ts";
import { EMPTY_PORT_MAP, type HostPort, type PortMap, type PortMapping, type PortMasquerade } from "./port-mapping.ts";

/** Parses the elements; ignores elements with a shape that the table never had. */
export function portMapOf(elements: ReadonlyMap<string, readonly SetElement[]>): PortMap {
  const read = FAMILIES.flatMap((family) => LAYERS.map((layer) => readLayer(layer, family, elements)));
  return {
    mappings: read.flatMap(({ mappings }) => mappings),
    masquerades: read.flatMap(({ masquerades }) => masquerades),
  };
}

/** Parses dumps of elements. */
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
  if (comment === undefined || host === undefined || data === undefined || "jump" in data || "goto" in data) return [];
  const [target, targetPort] = data;
  if (typeof targetPort !== "number" || !isAddressOf(family, target)) return [];
  return [{ owner: comment, host, target, targetPort }];
}

function readMasquerade(layer: Layer, family: Family, { values, data, comment }: TupleElement): PortMasquerade[] {
  const bit = data !== undefined && "jump" in data ? MARK_CHAIN.exec(data.jump)?.[1] : undefined;
  const at = layerFields(layer, family).masqueraded.indexOf("inet_service");
  const ports = readSpan(values[at]);
  const first =
    ports === undefined ? values : values.map((value, index) => (index === at ? Number(ports.first) : value));
  const host = readHost(layer, first);
  // The condition itself contains the sources.
  const source = layer.hasCondition ? { address: { family, value: 0n }, length: 0 } : values.at(-1);
  if (comment === undefined || bit === undefined || host === undefined || !isPrefixValue(source)) return [];
  const lastPort = ports === undefined ? {} : { lastPort: Number(ports.last) };
  return [{ owner: comment, host, ...lastPort, source, markBit: Number(bit) }];
}

/** Parses the start of a key of the layer. */
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

/** Keys with ranges contain a prefix of one address. */
function singleAddress(value: FieldValue | undefined): Address | undefined {
  if (isPrefixValue(value)) return value.address;
  return typeof value === "object" && "family" in value ? value : undefined;
}

function isAddressOf(family: Family, value: FieldValue | undefined): value is Address {
  return typeof value === "object" && "family" in value && value.family === family;
}
