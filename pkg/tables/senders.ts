/**
 * Adds, verifies and removes the elements of guarded senders (`senders-table.ts`).
 *
 * ADD and DEL know their keys, so they change elements without reading the table, whose size depends on the number of
 * pods. If the kernel refuses (ENOENT, EEXIST), they read the table and plan again.
 */
import type { Address } from "../ip/address.ts";
import { isSameAddress } from "../ip/address.ts";
import type { Message, Query, Request } from "../netlink/message.ts";
import type { SetElement } from "../netlink/nftables.ts";
import {
  elementDumps,
  hasSameShape,
  holdsElements,
  type ObservedTable,
  readElements,
  readTable,
  tableQuestions,
} from "../nft/comparison.ts";
import { readTuple, type TupleElement, wireElements } from "../nft/set.ts";
import { addElements, createTable, deleteElements, deleteFromSet, deleteTable, elementRequest } from "../nft/table.ts";
import { readComment } from "../nft/userdata.ts";
import {
  type GuardedSender,
  isAddressSet,
  SENDERS_FAMILIES,
  type SendersFamily,
  type SendersTable,
  sendersTable,
  tableWith,
} from "./senders-table.ts";

const emptyTable = (family: SendersFamily) => sendersTable(family, []);

/** The queries for the family's table. The caller treats ENOENT as an empty answer. */
export function sendersDumps(family: SendersFamily): Query[] {
  return tableQuestions(emptyTable(family));
}

/** The part of `sendersDumps` that `deleteSenders` needs. */
export function sendersElementDumps(family: SendersFamily): Query[] {
  return elementDumps(emptyTable(family));
}

/** Adds a sender's elements to an existing table. ENOENT: there is no such table. EEXIST: the port has elements. */
export function addSender(sender: GuardedSender): Request[] {
  const table = sendersTable(sender.family, [sender]);
  return table.sets.flatMap((set) => addElements(table, set));
}

/** Adds the elements of a sender's addresses only, for a port that got them after `addSender`. */
export function addSenderAddresses(sender: GuardedSender): Request[] {
  const isOfAddress = ({ values: [, value] }: TupleElement) =>
    typeof value === "object" && "family" in value && sender.addresses.some((each) => isSameAddress(each, value));
  const table = sendersTable(sender.family, [sender]);
  return table.sets.flatMap((set) => addElements(table, { ...set, elements: set.elements.filter(isOfAddress) }));
}

/** Removes a sender's elements by their keys. ENOENT: one of them is missing. */
export function deleteSender(sender: GuardedSender): Request[] {
  const table = sendersTable(sender.family, [sender]);
  return table.sets.flatMap((set) => deleteFromSet(table, set.name, wireElements(set)));
}

/**
 * The queries that `senderTest` needs for one sender: the table without its elements, and the sender's elements by their
 * keys. The caller treats ENOENT as an empty answer.
 */
export function senderQuestions(sender: GuardedSender): Query[] {
  const table = sendersTable(sender.family, [sender]);
  return [
    ...tableQuestions(table, () => false),
    ...table.sets.filter(({ elements }) => elements.length > 0).map((set) => elementRequest(table, set)),
  ];
}

/**
 * Makes one transaction that guards senders of one family; `dumped` are the answers to `sendersDumps`. It removes what is
 * left of earlier ports with the same names. A table that is not as wanted (an older version's, or damaged) is recreated
 * with its readable elements. EEXIST or ENOENT: the table has changed since the dump.
 */
export function addSenders(
  family: SendersFamily,
  dumped: readonly Message[],
  senders: readonly GuardedSender[],
): Request[] {
  const wanted = sendersTable(family, senders);
  const observed = readTable(wanted, dumped);
  if (observed === undefined) return createTable(wanted);
  const ports = new Set(senders.map(({ port }) => port));
  if (hasSameShape(wanted, observed)) {
    const stale = deleteElements(wanted, observed.elements, (element) => ports.has(portOf(element)));
    return [...stale, ...wanted.sets.flatMap((set) => addElements(wanted, set))];
  }
  return [deleteTable(wanted, observed.handle), ...createTable(withKept(family, wanted, observed, ports))];
}

/** The wanted table with the readable elements of other ports. */
function withKept(
  family: SendersFamily,
  wanted: SendersTable,
  { elements }: ObservedTable,
  ports: ReadonlySet<string>,
): SendersTable {
  return tableWith(family, ({ name, fields }) => {
    const kept = (elements.get(name) ?? []).flatMap((element) => {
      const read = readTuple({ fields }, element);
      return read?.comment === undefined || ports.has(portOf(element)) ? [] : [read];
    });
    return [...kept, ...(wanted.sets.find((set) => set.name === name)?.elements ?? [])];
  });
}

/** The port of an element: the first field of each key. */
function portOf({ key }: SetElement): string {
  return new TextDecoder().decode(key?.value?.subarray(0, 16)).replace(/\0.*$/s, "");
}

/**
 * Makes one transaction that removes the elements of all owners that `isWanted` selects; empty if there are none.
 * `dumped` are the answers to `sendersElementDumps`. ENOENT: the table has changed since the dump.
 */
export function deleteSenders(
  family: SendersFamily,
  dumped: readonly Message[],
  isWanted: (owner: string) => boolean,
): Request[] {
  const table = emptyTable(family);
  return deleteElements(table, readElements(table, dumped), ({ userdata }) => {
    const owner = readComment(userdata);
    return owner !== undefined && isWanted(owner);
  });
}

/** The addresses in the family's table, with their owners. */
export function senderAddresses(
  family: SendersFamily,
  dumped: readonly Message[],
): { readonly owner: string; readonly address: Address }[] {
  const table = emptyTable(family);
  const elements = readElements(table, dumped);
  return table.sets
    .filter(({ name }) => isAddressSet(name))
    .flatMap(({ name, fields }) =>
      (elements.get(name) ?? []).flatMap((element) => {
        const { values: [, address] = [], comment: owner } = readTuple({ fields }, element) ?? {};
        const isRead = owner !== undefined && typeof address === "object" && "family" in address;
        return isRead ? [{ owner, address }] : [];
      }),
    );
}

/** The attachments with elements in the family's table. */
export function sendersIn(family: SendersFamily, dumped: readonly Message[]): ReadonlySet<string> {
  const elements = [...readElements(emptyTable(family), dumped).values()].flat();
  return new Set(elements.flatMap(({ userdata }) => readComment(userdata) ?? []));
}

/** Returns a function that is true for senders with all their elements, in a table with the right rules. */
export function senderTest(dumped: readonly Message[]): (sender: GuardedSender) => boolean {
  const tables = new Map(
    SENDERS_FAMILIES.map((family) => {
      const wanted = emptyTable(family);
      const observed = readTable(wanted, dumped);
      return [family, observed !== undefined && hasSameShape(wanted, observed) ? observed : undefined];
    }),
  );
  return (sender) => {
    const elements = tables.get(sender.family)?.elements;
    if (elements === undefined) return false;
    return sendersTable(sender.family, [sender]).sets.every((set) => holdsElements(set, elements.get(set.name) ?? []));
  };
}
