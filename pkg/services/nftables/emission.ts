/**
 * The elements of a frontend, as a pure function of the frontend and of the order of its endpoints. An element is
 * identified by its set and its key, together one byte string (`ElementId`). The kernel's state and the desired state
 * are maps from `ElementId` to data.
 */
import type { Address, Family } from "../../ip/address.ts";
import { mergeSpans, prefixSpan } from "../../ip/span.ts";
import { addressBytes, numberBytes, protocolPort } from "../../nft/key-bytes.ts";
import type { Endpoint, Frontend } from "../frontend.ts";
import { type Bytes, endpointBytes, rowBytes } from "./bytes.ts";
import { LISTS, type List } from "./parts.ts";
import { FRONTEND_SETS } from "./sets.ts";
import type { Slots } from "./slots.ts";
import { affinityId, endpointToken } from "./token.ts";

/** One character for the set (its index in `FRONTEND_SETS`), then the key. */
export type ElementId = Bytes;

/** A frontend as it is programmed in the kernel. */
export interface Placed {
  readonly frontend: Frontend;
  readonly slots: Readonly<Record<List, Slots>>;
}

const INDEX = new Map(FRONTEND_SETS.map(({ name }, at) => [name, at]));

/** The index of an element's set. */
export function setIndex(id: ElementId): number {
  return id.charCodeAt(0);
}

/** The first character of the ids of this set's elements. */
export function setTag(name: string, family: Family): string {
  const index = INDEX.get(`${name}${family}`);
  if (index === undefined) throw new RangeError(`there is no set ${name}${family}`);
  return String.fromCharCode(index);
}

const perFamily = <T>(make: (family: Family) => T): Readonly<Record<Family, T>> => ({ 4: make(4), 6: make(6) });
const TAG = perFamily((family) => ({
  connections: setTag("connections", family),
  clusterIps: setTag("cluster-ips", family),
  internalFrontends: setTag("internal-frontends", family),
  external: setTag("external", family),
  localPolicy: setTag("local-policy", family),
  firewalled: setTag("firewalled", family),
  allowedSources: setTag("allowed-sources", family),
  unanswered: setTag("unanswered", family),
  dropped: setTag("dropped", family),
  hairpin: setTag("hairpin", family),
  affinityIds: setTag("affinity-ids", family),
  affinitySeconds: setTag("affinity-seconds", family),
  lists: Object.fromEntries(
    LISTS.map((list) => [
      list,
      {
        frontends: setTag(`${list}frontends`, family),
        sizes: setTag(`${list}sizes`, family),
        endpoints: setTag(`${list}endpoints`, family),
        sticky: setTag(`${list}sticky`, family),
      },
    ]),
  ) as Record<List, Readonly<Record<"frontends" | "sizes" | "endpoints" | "sticky", string>>>,
}));

/** The sets that decide about a frontend's connections. Their elements change together, in one transaction. */
const GATES = new Set(
  [
    "connections",
    "internal-frontends",
    "external",
    "local-policy",
    "firewalled",
    "allowed-sources",
    "unanswered",
    "dropped",
  ]
    .concat("affinity-ids", "affinity-seconds", ...LISTS.flatMap((list) => [`${list}frontends`, `${list}sizes`]))
    .flatMap((name) => [INDEX.get(`${name}4`), INDEX.get(`${name}6`)]),
);

export function isGate(id: ElementId): boolean {
  return GATES.has(setIndex(id));
}

const REFUSING = new Set([INDEX.get("cluster-ips4"), INDEX.get("cluster-ips6")]);

/** True for elements that refuse connections without a frontend; they are added after the frontends. */
export function isRefusing(id: ElementId): boolean {
  return REFUSING.has(setIndex(id));
}

/** Receives an element. `data` is empty in sets. */
export type Sink = (id: ElementId, data: Bytes) => void;

/** Emits the elements that belong to this frontend only. */
export function emitElements({ frontend, slots }: Placed, sink: Sink): void {
  const { affinity, policy, withoutEndpoint } = frontend;
  const tag = TAG[frontend.address.family];
  const row = rowBytes(frontend);
  sink(tag.connections + row, "");
  if (policy !== "internal") sink(tag.external + row, "");
  if (policy === "local") sink(tag.localPolicy + row, "");
  if (withoutEndpoint !== undefined) sink(tag.unanswered + row, "");
  if (withoutEndpoint === "drop") sink(tag.dropped + row, "");
  emitSources(frontend, row, sink);
  if (affinity !== undefined) {
    sink(tag.affinityIds + row, numberBytes(affinityId(affinity.key)));
    sink(tag.affinitySeconds + row, numberBytes(affinity.seconds));
  }
  for (const list of LISTS) {
    const all = slots[list];
    if (all.length === 0) continue;
    const to = tag.lists[list];
    const plain = list === "" && policy === "internal" ? tag.internalFrontends : to.frontends;
    sink((affinity === undefined ? plain : to.sizes) + row, numberBytes(all.length));
    for (let slot = 0; slot < all.length; slot++) {
      sink(to.endpoints + row + numberBytes(slot), endpointBytes(all[slot] as Slots[number]));
    }
    if (affinity !== undefined)
      emitTokens(to.sticky + row, list === "" ? frontend.endpoints : frontend.localEndpoints, sink);
  }
}

/**
 * Iterates in the sorted order of endpoints, so the result is stable: if two endpoints have the same token, the first
 * one gets it.
 */
function emitTokens(start: ElementId, endpoints: readonly Endpoint[], sink: Sink): void {
  const taken = new Set<number>();
  for (const endpoint of endpoints) {
    const bytes = endpointBytes(endpoint);
    const token = endpointToken(bytes);
    if (taken.has(token)) continue;
    taken.add(token);
    sink(start + numberBytes(token), bytes);
  }
}

function emitSources({ allowedSources, address: { family } }: Frontend, row: Bytes, sink: Sink): void {
  if (allowedSources === undefined) return;
  const tag = TAG[family];
  sink(tag.firewalled + row, "");
  const spans = allowedSources.filter(({ address }) => address.family === family).map(prefixSpan);
  const at = (value: bigint) => row + addressBytes({ family, value });
  for (const { first, last } of mergeSpans(spans)) sink(tag.allowedSources + at(first) + at(last), "");
}

/** Emits the elements that the frontend shares with other frontends. */
export function emitShared({ frontend, slots }: Placed, sink: (id: ElementId) => void): void {
  const { address, kind, protocol } = frontend;
  if (kind === "ClusterIP") sink(TAG[address.family].clusterIps + addressBytes(address));
  for (const list of LISTS) {
    for (const endpoint of slots[list])
      if (endpoint.isLocal) sink(hairpinId(endpoint.address, protocol, endpoint.port));
  }
}

function hairpinId(address: Address, protocol: number, port: number): ElementId {
  const bytes = addressBytes(address);
  return TAG[address.family].hairpin + bytes + bytes + protocolPort(protocol, port);
}

/** The common prefix of the ids of a frontend's slots; the number of the slot follows. */
export function slotsId({ address, ...rest }: Frontend, list: List): ElementId {
  return TAG[address.family].lists[list].endpoints + rowBytes({ address, ...rest });
}

/** The common prefix of the ids of a frontend's allowed sources. */
export function sourcesStart(frontend: Frontend): ElementId {
  return TAG[frontend.address.family].allowedSources + rowBytes(frontend);
}

const ROW_BYTES: Readonly<Record<Family, number>> = { 4: 12, 6: 24 };

/** For an allowed source, the `sourcesStart` of its frontend; `undefined` for other elements. */
export function allowedSourcesStart(id: ElementId): ElementId | undefined {
  for (const family of [4, 6] as const) {
    if (id.startsWith(TAG[family].allowedSources)) return id.slice(0, 1 + ROW_BYTES[family]);
  }
  return undefined;
}

/**
 * The ids of all gate elements that a frontend with this address, protocol and port can have, except allowed sources.
 */
export function gateIds(frontend: Frontend): ElementId[] {
  const tag = TAG[frontend.address.family];
  const row = rowBytes(frontend);
  const lists = LISTS.flatMap((list) => [tag.lists[list].frontends, tag.lists[list].sizes]);
  const { connections, internalFrontends, external, localPolicy, firewalled, unanswered, dropped } = tag;
  const { affinityIds, affinitySeconds } = tag;
  const all = [
    connections,
    internalFrontends,
    external,
    localPolicy,
    firewalled,
    unanswered,
    dropped,
    affinityIds,
    affinitySeconds,
    ...lists,
  ];
  return all.map((start) => start + row);
}
