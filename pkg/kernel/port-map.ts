/**
 * Ports of the node that lead to pods. One table for all attachments of the node; each mapped port has one element in a
 * map, each source whose connections are masqueraded one in another, all with the attachment's mark as comment.
 *
 * A connection to one of the node's own addresses goes through the chain `translate`: what needs the node's address as its
 * source gets a bit of the packet's mark (the pod itself and its neighbours, whose replies would not pass the node else,
 * and the node's loopback addresses), then the destination is translated. `postrouting` masquerades by that bit.
 *
 * Many executables write it at once and none is there to repair it, so each looks first and commits for the ruleset that
 * it saw only (`isExact`): ports for all addresses and ports for a single one are in different maps, and only together
 * they tell whether a port is taken.
 */
import { type Address, type Family, formatAddress, isSameAddress } from "../ip/address.ts";
import { IPV4_LOOPBACK, type Prefix } from "../ip/prefix.ts";
import type { Message, Request } from "../netlink/message.ts";
import type { SetElement } from "../netlink/nftables.ts";
import { SRCNAT } from "./masquerade.ts";
import { elementDumps, hasSameShape, holdsElements, readElements, readTable, tableDumps } from "./nft/comparison.ts";
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
} from "./nft/expressions.ts";
import { address, destinationPort, transportProtocol } from "./nft/selector.ts";
import { elementsText, type NftSet, readTuple, type TupleElement, type TupleSet } from "./nft/set.ts";
import {
  addElements,
  type Chain,
  createTable,
  deleteElements,
  deleteTable,
  type Rule,
  type Table,
} from "./nft/table.ts";
import { isPrefixValue, tupleText } from "./nft/tuple.ts";
import { readComment } from "./nft/userdata.ts";
import { describeOwner } from "./owner.ts";

/** A port of the node as connections ask for it. */
export interface HostPort {
  /** IPPROTO_* */
  readonly protocol: number;
  /** One of the node's addresses; undefined for all of a family. */
  readonly address: Address | undefined;
  readonly port: number;
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

/** The bit that the reference plugin takes, and other implementations of host ports with it. */
export const DEFAULT_MARK_BIT = 13;

/**
 * Right behind what nft calls dstnat (-100), where kube-proxy and others translate: of two who want the same connection,
 * the first one has it. A Service keeps what it had before the pod came, as with the reference plugin's chains.
 */
const BEHIND_DSTNAT = -99;
/** What nft calls raw: before connection tracking, so that replies to the node's loopback address are not met here yet. */
const RAW = -300;

const FAMILIES = [4, 6] as const;
const addressType = (family: Family) => `ipv${family}_addr` as const;

/** `table inet weft_portmap`. Chains depend on the bits in use alone; ports are elements. */
export function portMapTable(map: PortMap): Table {
  const bits = [...new Set([DEFAULT_MARK_BIT, ...map.masquerades.map(({ markBit }) => markBit)])].sort((a, b) => a - b);
  return {
    family: "inet",
    name: "weft_portmap",
    comment: "weft: ports of the node that lead to pods",
    sets: FAMILIES.flatMap((family) => familySets(family, map)),
    chains: [
      ...bits.map(markChain),
      { name: "translate", rules: FAMILIES.flatMap(translationRules) },
      { ...natChain("prerouting"), rules: [translateRule] },
      { ...natChain("output"), rules: [translateRule] },
      { name: "postrouting", type: "nat", hook: "postrouting", priority: SRCNAT, rules: bits.map(masqueradeRule) },
      { name: "loopback", type: "filter", hook: "prerouting", priority: RAW, rules: LOOPBACK_RULES },
    ],
  };
}

const natChain = (hook: "prerouting" | "output") =>
  ({ name: hook, type: "nat", hook, priority: BEHIND_DSTNAT }) as const;

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

function translationRules(family: Family): Rule[] {
  const port = [transportProtocol, destinationPort];
  const hostPort = [address("daddr", family), ...port];
  const rule = (comment: string, ...statements: Statement[]): Rule => ({
    comment: `${comment}, IPv${family}`,
    statements: [matchFamily(family), ...statements],
  });
  return [
    // The kernel never routes ::1 to another device: refused at once is better than no answer.
    ...(family === 6 ? [rule("stays on the node", matchAddress("daddr", IPV6_LOOPBACK), returnToCaller)] : []),
    rule("need the node's address", verdictByMap([...hostPort, address("saddr", family)], masqueradeMap(family))),
    rule("ports of one address", destinationByMap(family, hostPort, addressPortsMap(family))),
    rule("ports of all addresses", destinationByMap(family, port, portsMap(family))),
  ];
}

/** What lets the node's loopback connections reach pods (route_localnet) would let others reach the node's loopback. */
const LOOPBACK_RULES = (["daddr", "saddr"] as const).map(
  (side): Rule => ({
    comment: `loopback addresses from elsewhere: ${side}`,
    statements: [matchNotFromLoopback, matchFamily(4), matchPrefix(side, IPV4_LOOPBACK), counter, drop],
  }),
);

const portsMap = (family: Family) => `ports${family}`;
const addressPortsMap = (family: Family) => `address-ports${family}`;
const masqueradeMap = (family: Family) => `masquerade${family}`;

function familySets(family: Family, { mappings, masquerades }: PortMap): TupleSet[] {
  const own = mappings.filter(({ target }) => target.family === family);
  const type = addressType(family);
  return [
    {
      kind: "tuples",
      name: portsMap(family),
      comment: "ports of all addresses of the node",
      fields: ["inet_proto", "inet_service"],
      data: [type, "inet_service"],
      elements: own.flatMap(({ host, target, targetPort, owner }) =>
        host.address === undefined
          ? [{ values: [host.protocol, host.port], data: [target, targetPort], comment: owner }]
          : [],
      ),
    },
    {
      kind: "tuples",
      name: addressPortsMap(family),
      comment: "ports of one address of the node",
      fields: [type, "inet_proto", "inet_service"],
      data: [type, "inet_service"],
      elements: own.flatMap(({ host, target, targetPort, owner }) =>
        host.address === undefined
          ? []
          : [{ values: [host.address, host.protocol, host.port], data: [target, targetPort], comment: owner }],
      ),
    },
    {
      kind: "tuples",
      name: masqueradeMap(family),
      comment: "who gets the node's address as source",
      fields: [type, "inet_proto", "inet_service", type],
      hasRanges: true,
      data: "verdict",
      elements: masquerades
        .filter(({ source }) => source.address.family === family)
        .map(({ host, source, markBit, owner }) => ({
          values: [prefixOf(host.address, family), host.protocol, host.port, source],
          data: { jump: markChainName(markBit) },
          comment: owner,
        })),
    },
  ];
}

function prefixOf(single: Address | undefined, family: Family): Prefix {
  return single === undefined
    ? { address: { family, value: 0n }, length: 0 }
    : { address: single, length: family === 4 ? 32 : 128 };
}

/** Those of sets are refused with ENOENT where the table is absent: that answer is an empty one. */
export function portMapDumps(): Request[] {
  return tableDumps(portMapTable(EMPTY_PORT_MAP));
}

/** What `deletePortMap` needs of `portMapDumps`. */
export function portMapElementDumps(): Request[] {
  return elementDumps(portMapTable(EMPTY_PORT_MAP));
}

/** What the elements among the answers to dumps tell; those of an older shape of the table are passed over. */
export function readPortMap(dumped: readonly Message[]): PortMap {
  return portMapOf(readElements(portMapTable(EMPTY_PORT_MAP), dumped));
}

function portMapOf(elements: ReadonlyMap<string, readonly SetElement[]>): PortMap {
  const table = portMapTable(EMPTY_PORT_MAP);
  const read = (set: NftSet): { name: string; element: TupleElement }[] =>
    set.kind !== "tuples"
      ? []
      : (elements.get(set.name) ?? []).flatMap((element) => {
          const tuple = readTuple(set, element);
          return tuple === undefined ? [] : [{ name: set.name, element: tuple }];
        });
  const all = table.sets.flatMap(read);
  const isMasquerade = (name: string) => FAMILIES.some((family) => name === masqueradeMap(family));
  return {
    mappings: all.flatMap(({ name, element }) => (isMasquerade(name) ? [] : readMapping(element))),
    masquerades: all.flatMap(({ name, element }) => (isMasquerade(name) ? readMasquerade(element) : [])),
  };
}

function readMapping({ values, data, comment }: TupleElement): PortMapping[] {
  if (comment === undefined || data === undefined || "jump" in data) return [];
  const [single, protocol, port] = values.length === 2 ? [undefined, ...values] : values;
  const [target, targetPort] = data;
  return [
    {
      owner: comment,
      host: { address: single as Address | undefined, protocol: protocol as number, port: port as number },
      target: target as Address,
      targetPort: targetPort as number,
    },
  ];
}

const MARK_CHAIN = /^mark-(\d+)$/;

function readMasquerade({ values, data, comment }: TupleElement): PortMasquerade[] {
  const bit = data !== undefined && "jump" in data ? MARK_CHAIN.exec(data.jump)?.[1] : undefined;
  const [destination, protocol, port, source] = values;
  if (comment === undefined || bit === undefined || !isPrefixValue(destination) || !isPrefixValue(source)) return [];
  if (typeof protocol !== "number" || typeof port !== "number") return [];
  const single = destination.length === 0 ? undefined : destination.address;
  return [{ owner: comment, host: { address: single, protocol, port }, source, markBit: Number(bit) }];
}

/** Another attachment has the port already. */
export class PortTakenError extends Error {
  readonly wanted: PortMapping;
  readonly holder: PortMapping;

  constructor(wanted: PortMapping, holder: PortMapping) {
    super(`host port ${describeHostPort(wanted)} is taken by ${describeOwner(holder.owner)}`);
    this.name = "PortTakenError";
    this.wanted = wanted;
    this.holder = holder;
  }
}

/** "8080/tcp of 192.0.2.1", or "of any IPv4 address". */
export function describeHostPort({ host, target }: PortMapping): string {
  const single = host.address === undefined ? `any IPv${target.family} address` : formatAddress(host.address);
  return `${host.port}/${tupleText(["inet_proto"], [host.protocol])} of ${single}`;
}

/**
 * One transaction that adds `wanted`, which replaces what its owner had; `dumped` are the answers to `portMapDumps`. As
 * with sockets a port of all addresses and the same port of a single one exclude each other: throws `PortTakenError`. What
 * leads to an address that has gone over to `wanted` is no obstacle: its attachment is gone, and so goes all of it.
 *
 * A table that is not as it should be (an older version's, or damaged) is made anew with what its elements still tell.
 */
export function addPortMap(dumped: readonly Message[], wanted: PortMap): Request[] {
  const observed = readTable(portMapTable(EMPTY_PORT_MAP), dumped);
  const held = observed === undefined ? EMPTY_PORT_MAP : portMapOf(observed.elements);
  const isNewTarget = (target: Address) => wanted.mappings.some((mapping) => isSameAddress(mapping.target, target));
  const outgoing = new Set([
    ...wanted.mappings.map(({ owner }) => owner),
    ...held.mappings.filter(({ target }) => isNewTarget(target)).map(({ owner }) => owner),
  ]);
  const kept = {
    mappings: held.mappings.filter(({ owner }) => !outgoing.has(owner)),
    masquerades: held.masquerades.filter(({ owner }) => !outgoing.has(owner)),
  };
  assertFree(wanted.mappings, kept.mappings);
  const whole = portMapTable({
    mappings: [...kept.mappings, ...wanted.mappings],
    masquerades: [...kept.masquerades, ...wanted.masquerades],
  });
  if (observed === undefined) return createTable(whole);
  if (!hasSameShape(whole, observed)) return [deleteTable(whole, observed.handle), ...createTable(whole)];
  const added = portMapTable(wanted);
  return [
    ...deleteElements(
      added,
      observed.elements,
      isOwned((owner) => outgoing.has(owner)),
    ),
    ...added.sets.flatMap((set) => addElements(added, set)),
  ];
}

function assertFree(wanted: readonly PortMapping[], held: readonly PortMapping[]): void {
  for (const mapping of wanted) {
    const holder = held.find((other) => excludesEachOther(mapping, other));
    if (holder !== undefined) throw new PortTakenError(mapping, holder);
  }
}

function excludesEachOther(a: PortMapping, b: PortMapping): boolean {
  return (
    a.target.family === b.target.family &&
    a.host.protocol === b.host.protocol &&
    a.host.port === b.host.port &&
    (a.host.address === undefined || b.host.address === undefined || isSameAddress(a.host.address, b.host.address))
  );
}

/**
 * One transaction that removes what the owners have that `isWanted` names, or nothing to send; `dumped` are the answers
 * to `portMapElementDumps`.
 */
export function deletePortMap(dumped: readonly Message[], isWanted: (owner: string) => boolean): Request[] {
  const table = portMapTable(EMPTY_PORT_MAP);
  return deleteElements(table, readElements(table, dumped), isOwned(isWanted));
}

function isOwned(isWanted: (owner: string) => boolean): (element: SetElement) => boolean {
  return ({ userdata }) => {
    const owner = readComment(userdata);
    return owner !== undefined && isWanted(owner);
  };
}

/** What the kernel lacks of `wanted`, in words; `dumped` are the answers to `portMapDumps`. */
export function missingFromPortMap(dumped: readonly Message[], wanted: PortMap): string[] {
  const observed = readTable(portMapTable(EMPTY_PORT_MAP), dumped);
  const held = observed === undefined ? EMPTY_PORT_MAP : portMapOf(observed.elements);
  const table = portMapTable({ ...wanted, masquerades: [...held.masquerades, ...wanted.masquerades] });
  if (observed === undefined) return [`the table ${table.family} ${table.name} is missing`];
  if (!hasSameShape(table, observed)) return [`the rules of the table ${table.family} ${table.name} were changed`];
  return portMapTable(wanted)
    .sets.flatMap((set) =>
      set.kind === "tuples" ? set.elements.map((element) => ({ ...set, elements: [element] })) : [],
    )
    .filter((set) => !holdsElements(set, observed.elements.get(set.name) ?? []))
    .map((set) => `the element ${elementsText(set)} of ${table.family} ${table.name} ${set.name} is missing`);
}
