/**
 * Bridge ports whose pods may send frames only with their own hardware address (`macspoofchk`). There is one table for
 * all attachments of the node. Each guarded port is an element in a set of ports and in a set of ports with addresses,
 * both with the attachment's mark as comment.
 *
 * Many executables write the table at the same time and no daemon repairs it. ADD adds elements without reading the
 * others if the stamp shows that the table is intact (`nft/stamp.ts`), and DEL removes them by their keys. Otherwise
 * each reads the table first. The kernel refuses its changes if another one was faster (EEXIST, ENOENT), and the
 * executable reads again.
 */
import { BRIDGE_DSTNAT_PRIORITY, POD_TABLE } from "../footprint.ts";
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
import { counter, drop, matchInSet } from "../nft/expressions.ts";
import { etherSource, interfaceName } from "../nft/selector.ts";
import { readTuple, type TupleSet, wireElements } from "../nft/set.ts";
import { stampedParts } from "../nft/stamp.ts";
import {
  addElements,
  type Chain,
  createTable,
  deleteElements,
  deleteFromSet,
  deleteTable,
  type Table,
} from "../nft/table.ts";
import { readComment } from "../nft/userdata.ts";

/**
 * A bridge port, the only source address (in canonical form) of its frames, and the owner's mark (at most 127 bytes).
 */
export interface GuardedPort {
  readonly owner: string;
  readonly port: string;
  readonly mac: string;
}

/** `layoutDigest` of the table; a unit test compares it. */
const LAYOUT = 0x5efb_a2a1;

const SOURCE_FIELDS = ["ifname", "ether_addr"] as const;
const PORTS = "ports";
const SOURCES = "sources";

/** Makes `table bridge weft_macspoof` with these ports. */
export function macSpoofTable(guarded: readonly GuardedPort[]): Table & { readonly sets: readonly TupleSet[] } {
  return {
    family: "bridge",
    name: POD_TABLE.macspoofchk,
    comment: "weft: pods with macspoofchk",
    stamp: { layout: LAYOUT },
    sets: [
      {
        kind: "tuples",
        name: PORTS,
        comment: "guarded ports",
        fields: ["ifname"],
        elements: guarded.map(({ port, owner }) => ({ values: [port], comment: owner })),
      },
      {
        kind: "tuples",
        name: SOURCES,
        comment: "the address that each of them may use",
        fields: SOURCE_FIELDS,
        elements: guarded.map(({ port, mac, owner }) => ({ values: [port, mac], comment: owner })),
      },
    ],
    // Calls that change only elements do not build the rule.
    get chains() {
      return [guardingChain()];
    },
  };
}

function guardingChain(): Chain {
  return {
    name: "prerouting",
    type: "filter",
    hook: "prerouting",
    priority: BRIDGE_DSTNAT_PRIORITY,
    rules: [
      {
        comment: "frames under another's address",
        statements: [
          matchInSet([interfaceName("iifname")], PORTS),
          matchInSet([interfaceName("iifname"), etherSource], SOURCES, { invert: true }),
          counter,
          drop,
        ],
      },
    ],
  };
}

const EMPTY = macSpoofTable([]);

/**
 * The queries for the table. The kernel answers ENOENT for the sets of a missing table; the caller treats it as an
 * empty answer.
 */
export function macSpoofDumps(): Query[] {
  return tableQuestions(EMPTY);
}

/** The part of `macSpoofDumps` that `deleteGuards` needs. */
export function macSpoofElementDumps(): Query[] {
  return elementDumps(EMPTY);
}

/**
 * Makes one transaction that guards ports; `dumped` are the answers to `macSpoofDumps`. It removes what is left of an
 * earlier port with the same name. A table that is not as wanted (an older version's, or damaged), or without an intact
 * stamp, is recreated with its readable elements. EEXIST or ENOENT: the table has changed since the dump.
 */
export function addGuards(dumped: readonly Message[], guarded: readonly GuardedPort[]): Request[] {
  const wanted = macSpoofTable(guarded);
  const observed = readTable(wanted, dumped);
  if (observed === undefined) return createTable(wanted);
  const isNew = (port: string | undefined) => guarded.some((each) => each.port === port);
  if (hasSameShape(wanted, observed) && stampedParts(wanted, dumped) !== undefined) {
    const stale = deleteElements(wanted, observed.elements, (element) => isNew(portOf(element)));
    return [...stale, ...wanted.sets.flatMap((set) => addElements(wanted, set))];
  }
  const kept = guardsOf(observed.elements).filter(({ port }) => !isNew(port));
  return [deleteTable(wanted, observed.handle), ...createTable(macSpoofTable([...kept, ...guarded]))];
}

/** The guarded ports in the answers to dumps. */
export function readGuards(dumped: readonly Message[]): GuardedPort[] {
  return guardsOf(readElements(EMPTY, dumped));
}

function guardsOf(elements: ReadonlyMap<string, readonly SetElement[]>): GuardedPort[] {
  return (elements.get(SOURCES) ?? []).flatMap((element) => {
    const read = readTuple({ fields: SOURCE_FIELDS }, element);
    const [port, mac] = read?.values ?? [];
    if (typeof port !== "string" || typeof mac !== "string" || read?.comment === undefined) return [];
    return [{ owner: read.comment, port, mac }];
  });
}

/**
 * Makes one transaction that removes the elements of all owners that `isWanted` selects; empty if there are none.
 * `dumped` are the answers to `macSpoofElementDumps`. ENOENT: the table has changed since the dump.
 */
export function deleteGuards(dumped: readonly Message[], isWanted: (owner: string) => boolean): Request[] {
  return deleteElements(EMPTY, readElements(EMPTY, dumped), ({ userdata }) => {
    const owner = readComment(userdata);
    return owner !== undefined && isWanted(owner);
  });
}

/** Removes a port's elements by their keys. ENOENT: one of them is missing. */
export function deleteGuard(guarded: Omit<GuardedPort, "owner">): Request[] {
  const table = macSpoofTable([{ owner: "", ...guarded }]);
  return table.sets.flatMap((set) => deleteFromSet(table, set.name, wireElements(set)));
}

/** True if the table contains any element of the owner, correct or not. */
export function hasGuardOf(dumped: readonly Message[], owner: string): boolean {
  return deleteGuards(dumped, (mark) => mark === owner).length > 0;
}

/** True if the port is guarded, in a table that is as it should be. */
export function holdsGuard(dumped: readonly Message[], guarded: GuardedPort): boolean {
  const wanted = macSpoofTable([guarded]);
  const observed = readTable(wanted, dumped);
  if (observed === undefined || !hasSameShape(wanted, observed)) return false;
  return wanted.sets.every((set) => holdsElements(set, observed.elements.get(set.name) ?? []));
}

/** The port of an element of either set. */
function portOf(element: SetElement): string | undefined {
  const read = readTuple({ fields: ["ifname"] }, element) ?? readTuple({ fields: SOURCE_FIELDS }, element);
  const port = read?.values[0];
  return typeof port === "string" ? port : undefined;
}
