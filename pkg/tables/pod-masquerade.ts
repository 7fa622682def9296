/**
 * Masquerading for single attachments (the `ipMasq` of an executable): packets from a pod to destinations outside its
 * own subnet get the node's address as source. There is one table for all attachments of the node. Each address is an
 * element in a set of sources and in a set of sources with their subnets, both with the attachment's mark as comment.
 *
 * Many executables write the table at the same time and no daemon repairs it. ADD adds elements without reading the
 * others if the stamp shows that the table is intact (`nft/stamp.ts`), and DEL finds them by their keys. Otherwise each
 * reads the table first. The kernel refuses its changes if another one was faster (EEXIST, ENOENT), and the executable
 * reads again.
 */
import { POD_TABLE } from "../footprint.ts";
import { type Address, type Family, isSameAddress } from "../ip/address.ts";
import type { Prefix } from "../ip/prefix.ts";
import type { Message, Query, Request } from "../netlink/message.ts";
import type { SetElement } from "../netlink/nftables.ts";
import {
  elementDumps,
  hasSameShape,
  holdsElements,
  readElements,
  readTable,
  tableQuestions,
} from "../nft/comparison.ts";
import {
  counter,
  masquerade,
  matchFamily,
  matchNotMulticast,
  matchPairInSet,
  matchSourceInSet,
} from "../nft/expressions.ts";
import { type NftSet, readElement, readPair, wireElements } from "../nft/set.ts";
import { stampedParts } from "../nft/stamp.ts";
import {
  addElements,
  createTable,
  deleteElements,
  deleteFromSet,
  deleteTable,
  elementRequest,
  type Rule,
  type Table,
} from "../nft/table.ts";
import { postrouting } from "./masquerade.ts";

/** A pod's address, the subnet that sees this address unchanged, and the owner's mark (at most 127 bytes). */
export interface PodMasquerade {
  readonly owner: string;
  readonly address: Address;
  readonly subnet: Prefix;
}

/** `layoutDigest` of the table; a unit test compares it. */
const LAYOUT = 0x6ff7_de47;

const FAMILIES = [4, 6] as const;
const podsSet = (family: Family) => `pods${family}`;
const subnetsSet = (family: Family) => `pod-subnets${family}`;

/** Makes `table inet weft_masquerade` with these entries. */
export function podMasquerade(entries: readonly PodMasquerade[]): Table {
  return {
    family: "inet",
    name: POD_TABLE.masquerade,
    comment: "weft: pods with ipMasq",
    stamp: { layout: LAYOUT },
    sets: FAMILIES.flatMap((family): NftSet[] => {
      const own = entries.filter(({ address }) => address.family === family);
      return [
        {
          kind: "addresses",
          name: podsSet(family),
          comment: "addresses of the pods",
          family,
          elements: own.map(({ address, owner }) => ({ address, comment: owner })),
        },
        {
          kind: "pairs",
          name: subnetsSet(family),
          comment: "a pod and its own subnet",
          family,
          elements: own.map(({ address, subnet, owner }) => ({
            source: address,
            destination: subnet,
            comment: owner,
          })),
        },
      ];
    }),
    // Calls that change only elements do not build the rules.
    get chains() {
      return [postrouting(FAMILIES.map(podRule))];
    },
  };
}

function podRule(family: Family): Rule {
  return {
    comment: `pods to outside their subnets, IPv${family}`,
    statements: [
      matchFamily(family),
      matchSourceInSet(family, podsSet(family)),
      matchPairInSet(family, subnetsSet(family), { invert: true }),
      matchNotMulticast(family),
      counter,
      masquerade({ fullyRandom: true }),
    ],
  };
}

/**
 * The queries for the table. The kernel answers ENOENT for the sets of a missing table; the caller treats it as an
 * empty answer.
 */
export function podMasqueradeDumps(): Query[] {
  return tableQuestions(podMasquerade([]));
}

/** The part of `podMasqueradeDumps` that `deletePodMasquerade` needs. */
export function podMasqueradeElementDumps(): Query[] {
  return elementDumps(podMasquerade([]));
}

/**
 * Makes one transaction that adds `entries`; `dumped` are the answers to `podMasqueradeDumps`. An address of another
 * owner, which is stale, is assigned to the new one. A table that is not as wanted (an older version's, or damaged), or
 * without an intact stamp, is recreated with its readable elements. EEXIST or ENOENT: the table has changed since the
 * dump.
 */
export function addPodMasquerade(dumped: readonly Message[], entries: readonly PodMasquerade[]): Request[] {
  const wanted = podMasquerade(entries);
  const observed = readTable(wanted, dumped);
  if (observed === undefined) return createTable(wanted);
  const isNew = (address: Address) => entries.some((entry) => isSameAddress(entry.address, address));
  if (hasSameShape(wanted, observed) && stampedParts(wanted, dumped) !== undefined) {
    const stale = deleteElements(wanted, observed.elements, (element) => {
      const read = readElement(element);
      return read !== undefined && isNew(read.source);
    });
    return [...stale, ...wanted.sets.flatMap((set) => addElements(wanted, set))];
  }
  const kept = entriesOf(observed.elements).filter(({ address }) => !isNew(address));
  return [deleteTable(wanted, observed.handle), ...createTable(podMasquerade([...kept, ...entries]))];
}

/** True if all of `entries` are in the kernel, in a table that is as it should be. */
export function holdsPodMasquerade(dumped: readonly Message[], entries: readonly PodMasquerade[]): boolean {
  const wanted = podMasquerade(entries);
  const observed = readTable(wanted, dumped);
  if (observed === undefined || !hasSameShape(wanted, observed)) return false;
  return wanted.sets.every((set) => holdsElements(set, observed.elements.get(set.name) ?? []));
}

/** Parses the entries in the answers to `podMasqueradeDumps`. */
export function readPodMasquerade(dumped: readonly Message[]): PodMasquerade[] {
  return entriesOf(readElements(podMasquerade([]), dumped));
}

function entriesOf(elements: ReadonlyMap<string, readonly SetElement[]>): PodMasquerade[] {
  return FAMILIES.flatMap((family) => elements.get(subnetsSet(family)) ?? []).flatMap((element) => {
    const pair = readPair(element);
    if (pair?.comment === undefined) return [];
    return [{ owner: pair.comment, address: pair.source, subnet: pair.destination }];
  });
}

/**
 * Makes one transaction that removes the entries of all owners that `isWanted` selects; empty if there are none.
 * ENOENT: the table has changed since the dump.
 */
export function deletePodMasquerade(dumped: readonly Message[], isWanted: (owner: string) => boolean): Request[] {
  const table = podMasquerade([]);
  return deleteElements(table, readElements(table, dumped), (element) => {
    const owner = readElement(element)?.comment;
    return owner !== undefined && isWanted(owner);
  });
}

/** The queries for the elements of `entries` by their keys. The caller treats ENOENT as an empty answer. */
export function podMasqueradeQuestions(entries: readonly PodMasquerade[]): Query[] {
  const table = podMasquerade(entries);
  return table.sets.filter(({ elements }) => elements.length > 0).map((set) => elementRequest(table, set));
}

/**
 * Makes one transaction that removes `entries` by their keys; `seen` are the answers to `podMasqueradeQuestions`.
 * Returns undefined if one of them is missing or belongs to another owner.
 */
export function deleteSeenMasquerade(
  seen: readonly Message[],
  entries: readonly PodMasquerade[],
): Request[] | undefined {
  const table = podMasquerade(entries);
  const held = readElements(table, seen);
  if (!table.sets.every((set) => holdsElements(set, held.get(set.name) ?? []))) return undefined;
  return table.sets.flatMap((set) => deleteFromSet(table, set.name, wireElements(set)));
}
