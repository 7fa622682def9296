/**
 * Changes the node's port table, and compares it. Many executables write it at the same time and no daemon repairs it.
 * So each reads it first, and commits only for the ruleset that it has read: ports for all addresses and ports for a
 * single one are in different maps, and only both together show whether a port is taken.
 */

import { type Address, addressKey, formatAddress } from "../ip/address.ts";
import { describeOwner } from "../kernel/owner.ts";
import { answered, type Look, type Read } from "../netlink/look.ts";
import { decode, type Message, type Query, type Request } from "../netlink/message.ts";
import { NFT_MSG_NEWSET, type SetElement } from "../netlink/nftables.ts";
import {
  absentElements,
  chainQuestion,
  elementDumps,
  hasSameShape,
  readElements,
  readTable,
  setsDump,
  tableQuestions,
} from "../nft/comparison.ts";

import { readRules } from "../nft/ruleset.ts";
import { elementsText } from "../nft/set.ts";
import { stampedParts } from "../nft/stamp.ts";
import { addElements, createTable, deleteElements, deleteTable } from "../nft/table.ts";
import { tupleText } from "../nft/tuple.ts";
import { readComment } from "../nft/userdata.ts";
import { commonCondition } from "./port-condition.ts";
import { singlePorts } from "./port-map-layers.ts";
import { portMapOf, readPortMap } from "./port-map-reading.ts";
import {
  hasParts,
  observedParts,
  PLAIN_TABLE_PARTS,
  partsOf,
  portMapElements,
  portMapTable,
  WHOLE_TABLE_PARTS,
} from "./port-map-table.ts";
import { EMPTY_PORT_MAP, type HostPort, hostPortKey, type PortMap, type PortMapping } from "./port-mapping.ts";

const PLAIN_TABLE = portMapTable(EMPTY_PORT_MAP, PLAIN_TABLE_PARTS);
/** The table with all its parts, without elements. */
export const WHOLE_TABLE = portMapTable(EMPTY_PORT_MAP, WHOLE_TABLE_PARTS);
/** The sets that exist only while there are ports with conditions. */
const CONDITIONAL_SETS = {
  ...WHOLE_TABLE,
  sets: WHOLE_TABLE.sets.filter(({ name }) => !PLAIN_TABLE.sets.some((plain) => plain.name === name)),
};

/** Reads what `addPortMap` and `missingFromPortMap` need; omits missing objects. */
export function lookAtPortMap(read: Read): readonly Message[] {
  return answered(portMapLook(), read);
}

/** The same as a coroutine, for callers that must not block. */
export function* portMapLook(): Look<readonly Message[]> {
  const seen = yield tableQuestions(PLAIN_TABLE);
  return yield* withConditional(seen, unaskedChains(seen));
}

/** Reads the part that `deletePortMap` needs. */
export function lookAtPortMapElements(read: Read): readonly Message[] {
  return answered(portMapElementsLook(), read);
}

/** The same as a coroutine, for callers that must not block. */
export function* portMapElementsLook(): Look<readonly Message[]> {
  return yield* withConditional(yield [...elementDumps(PLAIN_TABLE), setsDump(PLAIN_TABLE)], []);
}

/** Queries the chains for other mark bits. Each has a rule, and so appears among the table's rules. */
function unaskedChains(seen: readonly Message[]): Query[] {
  const rules = readRules(seen).map(({ chain }) => chain);
  const asked = new Set(PLAIN_TABLE.chains.map(({ name }) => name));
  return [...new Set(rules)].filter((name) => !asked.has(name)).map((name) => chainQuestion(PLAIN_TABLE, name));
}

function* withConditional(seen: readonly Message[], more: readonly Query[]): Look<readonly Message[]> {
  const isConditional = (message: Message) =>
    message.type === NFT_MSG_NEWSET.type &&
    CONDITIONAL_SETS.sets.some(({ name }) => name === decode(NFT_MSG_NEWSET, message).attributes.name);
  const questions = [...more, ...(seen.some(isConditional) ? elementDumps(CONDITIONAL_SETS) : [])];
  return questions.length === 0 ? seen : [...seen, ...(yield questions)];
}

/** Another attachment already has the port. */
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

/** Describes a port for people: "8080/tcp of 192.0.2.1", or "of any IPv4 address". */
export function describeHostPort({ host, target }: PortMapping): string {
  const single = host.address === undefined ? `any IPv${target.family} address` : formatAddress(host.address);
  return `${host.port}/${tupleText(["inet_proto"], [host.protocol])} of ${single}`;
}

/** An attachment that has a port, and the targets of all its ports. */
export interface PortHolder {
  readonly owner: string;
  readonly targets: readonly Address[];
}

export interface PortMapAddition {
  readonly requests: readonly Request[];
  /** The ports of other attachments that the transaction removes. */
  readonly replaced: readonly PortMapping[];
}

/**
 * Makes one transaction that adds `wanted` and replaces the owner's existing ports; `seen` are the answers to
 * `lookAtPortMap`. Throws `PortTakenError` if another attachment has the same port in the same layer for some of the
 * same connections. If `isGone` says that nothing of that holder is left, the transaction removes all its ports
 * instead. Ports to an address that now belongs to `wanted` are removed, too, because their attachment is gone.
 *
 * A table that is not as wanted (an older version's, or damaged, or without an intact stamp) is recreated with its
 * readable elements.
 */
export function addPortMap(
  seen: readonly Message[],
  wanted: PortMap,
  isGone: (holder: PortHolder) => boolean = () => false,
): PortMapAddition {
  const observed = readTable(WHOLE_TABLE, seen);
  const held = observed === undefined ? EMPTY_PORT_MAP : portMapOf(observed.elements);
  const outgoing = outgoingOwners(wanted, held, isGone);
  const isOutgoing = ({ owner }: { owner: string }) => outgoing.has(owner);
  const own = new Set(wanted.mappings.map(({ owner }) => owner));
  const whole = {
    mappings: [...held.mappings.filter((mapping) => !isOutgoing(mapping)), ...wanted.mappings],
    masquerades: [...held.masquerades.filter((entry) => !isOutgoing(entry)), ...wanted.masquerades],
  };
  const replaced = held.mappings.filter((mapping) => isOutgoing(mapping) && !own.has(mapping.owner));
  if (observed === undefined) return { requests: createTable(portMapTable(whole)), replaced };
  const parts = observedParts(observed);
  const isOurs = stampedParts(WHOLE_TABLE, seen) !== undefined && hasParts(parts, partsOf(wanted));
  if (!isOurs || !hasSameShape(portMapTable(EMPTY_PORT_MAP, parts), observed)) {
    const table = portMapTable(whole);
    return { requests: [deleteTable(table, observed.handle), ...createTable(table)], replaced };
  }
  // A version without the index deletes only ports. The rest of its index would refuse the address's next attachment.
  const holders = new Set(held.mappings.map(({ owner }) => owner));
  const requests = [
    ...deleteElements(
      WHOLE_TABLE,
      observed.elements,
      isOwned((owner) => outgoing.has(owner) || !holders.has(owner)),
    ),
    ...portMapElements(wanted).flatMap(({ set, wire }) => addElements(WHOLE_TABLE, set, { wire })),
  ];
  return { requests, replaced };
}

/** The owners whose ports are removed when `wanted` is added. */
function outgoingOwners(wanted: PortMap, held: PortMap, isGone: (holder: PortHolder) => boolean): ReadonlySet<string> {
  const newTargets = new Set(wanted.mappings.map(({ target }) => addressKey(target)));
  const outgoing = new Set([
    ...wanted.mappings.map(({ owner }) => owner),
    ...held.mappings.filter(({ target }) => newTargets.has(addressKey(target))).map(({ owner }) => owner),
  ]);
  // Uses keys: pods with thousands of ports are compared with a node that has thousands of ports.
  const rivals = new Map<string, PortMapping[]>(wanted.mappings.map((mapping) => [rivalKey(mapping), []]));
  for (const mapping of held.mappings) rivals.get(rivalKey(mapping))?.push(mapping);
  for (const mapping of wanted.mappings) {
    for (const holder of rivals.get(rivalKey(mapping)) ?? []) {
      const { owner } = holder;
      if (outgoing.has(owner) || !haveCommonConnections(mapping.host, holder.host)) continue;
      if (!isGone({ owner, targets: targetsOf(owner, held) })) throw new PortTakenError(mapping, holder);
      outgoing.add(owner);
    }
  }
  return outgoing;
}

/**
 * The first conflict of `wanted` with `held`: another attachment has the port, or has ports that lead to the same
 * address.
 */
export function portMapObstacle(
  wanted: PortMap,
  held: PortMap,
): { wanted: PortMapping; holder: PortMapping } | undefined {
  const rivals = new Map<string, PortMapping[]>();
  const led = new Map<string, PortMapping[]>();
  for (const mapping of held.mappings) {
    for (const [map, key] of [
      [rivals, rivalKey(mapping)],
      [led, addressKey(mapping.target)],
    ] as const) {
      const same = map.get(key);
      if (same === undefined) map.set(key, [mapping]);
      else same.push(mapping);
    }
  }
  for (const mapping of wanted.mappings) {
    const isOther = ({ owner }: PortMapping) => owner !== mapping.owner;
    const holder =
      rivals
        .get(rivalKey(mapping))
        ?.find((other) => isOther(other) && haveCommonConnections(mapping.host, other.host)) ??
      led.get(addressKey(mapping.target))?.find(isOther);
    if (holder !== undefined) return { wanted: mapping, holder };
  }
  return undefined;
}

/**
 * Equal for the same port in the same layer. If two ports of different layers match a connection, the more specific one
 * gets it, so ports of different layers do not exclude each other.
 */
function rivalKey({ host, target }: PortMapping): string {
  return `${target.family} ${hostPortKey(host)} ${host.condition === undefined ? "" : "conditional"}`;
}

/** Compares two ports with equal `rivalKey`. */
function haveCommonConnections(a: HostPort, b: HostPort): boolean {
  if (a.condition === undefined || b.condition === undefined) return true;
  return commonCondition(a.condition, b.condition) !== undefined;
}

/** Without duplicates. */
function targetsOf(owner: string, { mappings }: PortMap): Address[] {
  const own = mappings.filter((mapping) => mapping.owner === owner);
  return [...new Map(own.map(({ target }) => [addressKey(target), target])).values()];
}

/**
 * Makes one transaction that removes the elements of the owners that `isWanted` selects; empty if there are none.
 * `seen` are the answers to `lookAtPortMapElements`.
 */
export function deletePortMap(seen: readonly Message[], isWanted: (owner: string) => boolean): Request[] {
  return deleteElements(WHOLE_TABLE, readElements(WHOLE_TABLE, seen), isOwned(isWanted));
}

function isOwned(isWanted: (owner: string) => boolean): (element: SetElement) => boolean {
  return ({ userdata }) => {
    const owner = readComment(userdata);
    return owner !== undefined && isWanted(owner);
  };
}

/** True if the table has a port of this owner; `seen` are the answers to `lookAtPortMapElements`, or more. */
export function hasPorts(seen: readonly Message[], owner: string): boolean {
  return readPortMap(seen).mappings.some((mapping) => mapping.owner === owner);
}

/** Describes the parts of `wanted` that the kernel lacks; `seen` are the answers to `lookAtPortMap`. */
export function missingFromPortMap(seen: readonly Message[], wanted: PortMap): string[] {
  const observed = readTable(WHOLE_TABLE, seen);
  const text = `${WHOLE_TABLE.family} ${WHOLE_TABLE.name}`;
  if (observed === undefined) return [`the table ${text} is missing`];
  const parts = observedParts(observed);
  if (!hasParts(parts, partsOf(wanted)) || !hasSameShape(portMapTable(EMPTY_PORT_MAP, parts), observed)) {
    return [`the rules of the table ${text} have been changed`];
  }
  return portMapTable(wanted)
    .sets.flatMap((set) => {
      if (set.kind !== "tuples") return [];
      const elements = observed.elements.get(set.name) ?? [];
      const absent = absentElements(set, elements);
      if (absent.length === 0) return [];
      const single = absent.flatMap((element) => singlePorts(set, element));
      return absentElements({ ...set, elements: single }, elements).map((element) => ({ ...set, elements: [element] }));
    })
    .map((set) => `the element ${elementsText(set)} of ${text} ${set.name} is missing`);
}
