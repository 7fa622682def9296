/**
 * Masquerade for single attachments (the `ipMasq` of an executable): what leaves a pod for outside its own subnet gets
 * the node's address. One table for all attachments of the node; each address has one element in a set of sources and one
 * in a set of source and own subnet, both with the attachment's mark as comment.
 *
 * Many executables write it at once and none is there to repair it, so each looks first and sends changes that the kernel
 * refuses when somebody else was faster (EEXIST, ENOENT): then look again.
 */
import { POD_TABLE } from "../footprint.ts";
import { type Address, type Family, isSameAddress } from "../ip/address.ts";
import type { Prefix } from "../ip/prefix.ts";
import type { Message, Query, Request } from "../netlink/message.ts";
import type { SetElement } from "../netlink/nftables.ts";
import { hasSameShape, holdsElements, readElements, readTable, tableQuestions } from "../nft/comparison.ts";
import {
  counter,
  masquerade,
  matchFamily,
  matchNotMulticast,
  matchPairInSet,
  matchSourceInSet,
} from "../nft/expressions.ts";
import { type NftSet, readElement, readPair } from "../nft/set.ts";
import { addElements, createTable, deleteElements, deleteTable, type Rule, type Table } from "../nft/table.ts";
import { postrouting } from "./masquerade.ts";

/** A pod's address, the subnet that it reaches under its own address, and the owner's mark (at most 127 bytes). */
export interface PodMasquerade {
  readonly owner: string;
  readonly address: Address;
  readonly subnet: Prefix;
}

const FAMILIES = [4, 6] as const;
const podsSet = (family: Family) => `pods${family}`;
const subnetsSet = (family: Family) => `pod-subnets${family}`;

/** `table inet weft_masquerade` with these entries. */
export function podMasquerade(entries: readonly PodMasquerade[]): Table {
  return {
    family: "inet",
    name: POD_TABLE.masquerade,
    comment: "weft: pods with ipMasq",
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
    chains: [postrouting(FAMILIES.map(podRule))],
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

/** Those of sets are refused with ENOENT where the table is absent: that answer is an empty one. */
export function podMasqueradeDumps(): Query[] {
  return tableQuestions(podMasquerade([]));
}

/**
 * One transaction that adds `entries`; `dumped` are the answers to `podMasqueradeDumps`. An address that another owner
 * left behind changes hands. A table that is not as it should be (an older version's, or damaged) is made anew with what
 * its elements still tell. EEXIST or ENOENT: the table has changed since the dump.
 */
export function addPodMasquerade(dumped: readonly Message[], entries: readonly PodMasquerade[]): Request[] {
  const wanted = podMasquerade(entries);
  const observed = readTable(wanted, dumped);
  if (observed === undefined) return createTable(wanted);
  const isNew = (address: Address) => entries.some((entry) => isSameAddress(entry.address, address));
  if (hasSameShape(wanted, observed)) {
    const stale = deleteElements(wanted, observed.elements, (element) => {
      const read = readElement(element);
      return read !== undefined && isNew(read.source);
    });
    return [...stale, ...wanted.sets.flatMap((set) => addElements(wanted, set))];
  }
  const kept = entriesOf(observed.elements).filter(({ address }) => !isNew(address));
  return [deleteTable(wanted, observed.handle), ...createTable(podMasquerade([...kept, ...entries]))];
}

/** True when all of `entries` are in the kernel, in a table that is as it should be. */
export function holdsPodMasquerade(dumped: readonly Message[], entries: readonly PodMasquerade[]): boolean {
  const wanted = podMasquerade(entries);
  const observed = readTable(wanted, dumped);
  if (observed === undefined || !hasSameShape(wanted, observed)) return false;
  return wanted.sets.every((set) => holdsElements(set, observed.elements.get(set.name) ?? []));
}

/** The entries that the elements among the answers to `podMasqueradeDumps` tell. */
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
 * One transaction that removes the entries of all owners that `isWanted` names, or nothing to send. ENOENT: the table
 * has changed since the dump.
 */
export function deletePodMasquerade(dumped: readonly Message[], isWanted: (owner: string) => boolean): Request[] {
  const table = podMasquerade([]);
  return deleteElements(table, readElements(table, dumped), (element) => {
    const owner = readElement(element)?.comment;
    return owner !== undefined && isWanted(owner);
  });
}
