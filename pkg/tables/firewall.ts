/**
 * The table of the plugin `firewall`: the addresses of its pods, and the bridges that are isolated from each other.
 * Each address of a pod is an element with the attachment's mark as comment. A bridge stays in the table while a pod on
 * it requests a policy.
 *
 * Accept rules only count packets: another program's chain may still drop them, which `foreign-forward.ts` prevents. A
 * drop rule is final, whatever other chains do.
 */
import { FILTER_PRIORITY, POD_TABLE, PRIVATE_CHAIN } from "../footprint.ts";
import type { BridgePolicy } from "../foreign/reference-state.ts";
import { type Address, type Family, isSameAddress } from "../ip/address.ts";
import type { Message, Query, Request } from "../netlink/message.ts";
import type { SetElement } from "../netlink/nftables.ts";
import { changeElements } from "../nft/change.ts";
import {
  hasSameShape,
  holdsElements,
  type ObservedTable,
  readElements,
  readTable,
  tableQuestions,
} from "../nft/comparison.ts";
import {
  accept,
  counter,
  drop,
  matchDestinationInSet,
  matchEstablished,
  matchFamily,
  matchInterfaceInSet,
  matchInterfacesInSet,
  matchSourceInSet,
  returnToCaller,
} from "../nft/expressions.ts";
import { type AddressSet, type NftSet, readElement, readTuple, type TupleSet, wireElements } from "../nft/set.ts";
import { stampedParts } from "../nft/stamp.ts";
import {
  addElements,
  type Chain,
  createTable,
  deleteFromSet,
  deleteTable,
  elementRequest,
  type Rule,
  type Table,
} from "../nft/table.ts";
import type { FieldValue } from "../nft/tuple.ts";
import { readRuleHandles, ruleHandlesUserdata } from "../nft/userdata.ts";

/** A pod's address with the owner's mark (at most 127 bytes). */
export interface FirewallPod {
  readonly owner: string;
  readonly address: Address;
  /** The bridge for which the pod requests a policy. */
  readonly bridge?: string;
}

/** The content of the table. */
export interface Firewall {
  readonly pods: readonly FirewallPod[];
  readonly policies: ReadonlyMap<string, BridgePolicy>;
}

/** `layoutDigest` of the table; a unit test compares it. */
const LAYOUT = 0xb608_1de3;

const FAMILIES = [4, 6] as const;
const podsSet = (family: Family) => `pods${family}`;
const membersSet = (family: Family) => `bridge-pods${family}`;
const memberFields = (family: Family) => ["ifname", `ipv${family}_addr`] as const;
const recordsSet = (family: Family) => `rule-handles${family}`;
export const BRIDGES = "bridges";
const OPEN_BRIDGES = "open-bridges";
const EMPTY: Firewall = { pods: [], policies: new Map() };

/** `table inet weft_firewall`. */
export function firewallTable({ pods, policies }: Firewall): Table {
  const bridges = [...policies.keys()];
  const open = bridges.filter((bridge) => policies.get(bridge) === "same-bridge");
  return {
    family: "inet",
    name: POD_TABLE.firewall,
    comment: "weft: pods that firewall lets through",
    stamp: { layout: LAYOUT },
    sets: [
      ...FAMILIES.flatMap((family) => [...podSets(family, pods), recordSet([], family)]),
      {
        kind: "tuples",
        name: BRIDGES,
        comment: "bridges that are closed to each other",
        fields: ["ifname"],
        elements: bridges.map((bridge) => ({ values: [bridge] })),
      },
      {
        kind: "tuples",
        name: OPEN_BRIDGES,
        comment: "bridges on which pods reach each other",
        fields: ["ifname", "ifname"],
        elements: open.map((bridge) => ({ values: [bridge, bridge] })),
      },
    ],
    // Calls that change only elements do not build the rules.
    get chains(): Chain[] {
      return [{ name: "forward", type: "filter", hook: "forward", priority: FILTER_PRIORITY, rules: rules() }];
    },
  };
}

export function podSets(family: Family, pods: readonly FirewallPod[]): NftSet[] {
  const own = pods.filter(({ address }) => address.family === family);
  return [
    {
      kind: "addresses",
      name: podsSet(family),
      comment: "addresses of the pods",
      family,
      elements: own.map(({ address, owner }) => ({ address, comment: owner })),
    },
    {
      kind: "tuples",
      name: membersSet(family),
      comment: "who needs the bridges",
      fields: memberFields(family),
      elements: own.flatMap(({ address, owner, bridge }) =>
        bridge === undefined ? [] : [{ values: [bridge, address], comment: owner }],
      ),
    },
  ];
}

/** ADD and DEL look up elements by key and never dump the set, so its size does not affect them. */
function recordSet(records: readonly RuleRecord[], family: Family): AddressSet {
  return {
    kind: "addresses",
    name: recordsSet(family),
    comment: `handles of the pods' rules in ${PRIVATE_CHAIN}`,
    family,
    // Only added to: replacing an element makes the caller wait for a grace period of the kernel. Reading the chain instead of
    // this set cost a DEL 24 ms more with 250 pods.
    elements: records
      .filter(({ address }) => address.family === family)
      .map(({ address, handles }) => ({ address, userdata: ruleHandlesUserdata(handles) })),
  };
}

function rules(): Rule[] {
  return [
    { comment: "within one bridge", statements: [matchInterfacesInSet(OPEN_BRIDGES), returnToCaller] },
    {
      comment: "between bridges, and within isolated ones",
      statements: [matchInterfaceInSet("iifname", BRIDGES), matchInterfaceInSet("oifname", BRIDGES), counter, drop],
    },
    ...FAMILIES.flatMap((family): Rule[] => [
      {
        comment: `answers to pods, IPv${family}`,
        statements: [
          matchFamily(family),
          matchDestinationInSet(family, podsSet(family)),
          matchEstablished,
          counter,
          accept,
        ],
      },
      {
        comment: `pods to anywhere, IPv${family}`,
        statements: [matchFamily(family), matchSourceInSet(family, podsSet(family)), counter, accept],
      },
    ]),
  ];
}

/**
 * The queries for the table. The kernel answers ENOENT for the sets of a missing table; the caller treats it as an
 * empty answer.
 */
export function firewallDumps(): Query[] {
  const table = firewallTable(EMPTY);
  const isRecord = (name: string) => FAMILIES.some((family) => name === recordsSet(family));
  return tableQuestions(table, (set) => !isRecord(set.name));
}

/** The table in the kernel, which may be from an earlier version or damaged. */
export interface SeenFirewall extends Firewall {
  /** `undefined` if there is no table. */
  readonly table: ObservedTable | undefined;
  /** True if this version of weft made the table and no program has changed it (`nft/stamp.ts`). */
  readonly isStamped: boolean;
}

/** Parses the answers to `firewallDumps`. */
export function readFirewall(seen: readonly Message[]): SeenFirewall {
  const wanted = firewallTable(EMPTY);
  const table = readTable(wanted, seen);
  const isStamped = stampedParts(wanted, seen) !== undefined;
  return { table, isStamped, ...(table === undefined ? EMPTY : parseElements(table.elements)) };
}

/** Parses the elements of the table. */
export function parseElements(elements: ReadonlyMap<string, readonly SetElement[]>): Firewall {
  const tuples = (set: string, fields: TupleSet["fields"]) =>
    (elements.get(set) ?? []).flatMap((element) => readTuple({ fields }, element)?.values ?? []);
  const bridges = new Map<string, string>();
  for (const family of FAMILIES) {
    for (const element of elements.get(membersSet(family)) ?? []) {
      const [bridge, address] = readTuple({ fields: memberFields(family) }, element)?.values ?? [];
      bridges.set(textOf(address), String(bridge));
    }
  }
  const open = new Set(tuples(OPEN_BRIDGES, ["ifname", "ifname"]));
  return {
    pods: FAMILIES.flatMap((family) => elements.get(podsSet(family)) ?? []).flatMap((element) => {
      const read = readElement(element);
      if (read?.comment === undefined) return [];
      const bridge = bridges.get(textOf(read.source));
      const pod = { owner: read.comment, address: read.source };
      return [bridge === undefined ? pod : { ...pod, bridge }];
    }),
    policies: new Map(
      tuples(BRIDGES, ["ifname"]).map((name) => [String(name), open.has(name) ? "same-bridge" : "isolated"]),
    ),
  };
}

function textOf(value: FieldValue | undefined): string {
  return typeof value === "object" && "family" in value ? `${value.family} ${value.value}` : "";
}

/** Adds the bridges that the reference plugin isolates in iptables' tables, while its pods exist. */
function closedTo(policies: Firewall["policies"], others: readonly string[]): Firewall["policies"] {
  if (policies.size === 0) return policies;
  return new Map([...others.map((bridge) => [bridge, "same-bridge"] as const), ...policies]);
}

/**
 * Makes one transaction that adds `added`. An address of another owner, which is stale, is assigned to the new one. A
 * bridge is isolated if one pod requests it. `others` are bridges that the reference plugin isolates; ours are isolated
 * from them, too. A table that is not as wanted (an older version's, or damaged), or without an intact stamp, is recreated
 * with its readable elements. EEXIST or ENOENT: it has changed since the dump.
 */
export function addToFirewall(before: SeenFirewall, added: Firewall, others: readonly string[] = []): Request[] {
  const isNew = (address: Address) => added.pods.some((pod) => isSameAddress(pod.address, address));
  const after: Firewall = {
    pods: [...before.pods.filter(({ address }) => !isNew(address)), ...added.pods],
    policies: closedTo(stricter(before.policies, added.policies), others),
  };
  const observed = before.table;
  if (observed === undefined) return createTable(firewallTable(after));
  const table = firewallTable(after);
  if (!before.isStamped || !hasSameShape(table, observed))
    return [deleteTable(table, observed.handle), ...createTable(table)];
  return [
    ...changeElements(observed.elements, table),
    // Add existing elements again, because the last pod of the bridge may be leaving at this moment.
    ...table.sets
      .filter(({ name }) => added.policies.size > 0 && (name === BRIDGES || name === OPEN_BRIDGES))
      .flatMap((set) => addElements(table, set, { exclusive: false })),
  ];
}

function stricter(held: Firewall["policies"], added: Firewall["policies"]): Firewall["policies"] {
  const isolated = [...held].filter(([, policy]) => policy === "isolated");
  return new Map([...held, ...added, ...isolated]);
}

/** The result of `removeFromFirewall`. */
export interface Removal {
  readonly requests: readonly Request[];
  /** The pods to remove, and the remaining ones. */
  readonly pods: readonly FirewallPod[];
  readonly left: readonly FirewallPod[];
  /**
   * True if a bridge is removed with its last pod. The transaction is then valid only for the generation of the dump.
   */
  readonly needsGeneration: boolean;
  /** True if bridges stay for other pods, which may be leaving at this moment. */
  readonly sharesWithOthers: boolean;
}

/** The handles of the rules that accept an address in CNI-FORWARD, by which DEL finds the rules. */
export interface RuleRecord {
  readonly address: Address;
  readonly handles: readonly bigint[];
}

/** Queries the records of these addresses by key. Fails with ENOENT if there is none. */
export function ruleRecordRequests(addresses: readonly Address[]): Query[] {
  const table = firewallTable(EMPTY);
  return addresses.map((address) => elementRequest(table, recordSet([{ address, handles: [] }], address.family)));
}

/** Parses the answers to `ruleRecordRequests`. */
export function readRuleRecords(seen: readonly Message[]): RuleRecord[] {
  const elements = readElements(firewallTable(EMPTY), seen);
  return FAMILIES.flatMap((family) => elements.get(recordsSet(family)) ?? []).flatMap((element) => {
    const read = readElement(element);
    return read === undefined ? [] : [{ address: read.source, handles: readRuleHandles(element.userdata) }];
  });
}

/**
 * Adds records, and removes existing ones with the same addresses. A replacement delays the caller by a grace period of
 * the kernel when it closes its socket; an addition does not. ENOENT or EEXIST: another call has changed the records.
 */
export function addRuleRecords(records: readonly RuleRecord[], replaced: readonly RuleRecord[]): Request[] {
  const table = firewallTable(EMPTY);
  const sets = FAMILIES.map((family) => recordSet(records, family));
  return [...deleteRuleRecords(replaced), ...sets.flatMap((set) => addElements(table, set))];
}

/** Deletes records. ENOENT: one of them does not exist any more. */
export function deleteRuleRecords(records: readonly RuleRecord[]): Request[] {
  const table = firewallTable(EMPTY);
  const sets = FAMILIES.map((family) => recordSet(records, family));
  return sets.flatMap((set) => deleteFromSet(table, set.name, wireElements(set)));
}

/**
 * Makes one transaction that removes the pods of all owners that `isWanted` selects. `others` are bridges that the
 * reference plugin isolates. ENOENT: the elements have changed since the dump.
 */
export function removeFromFirewall(
  before: SeenFirewall,
  isWanted: (owner: string) => boolean,
  others: readonly string[] = [],
): Removal {
  const observed = before.table;
  if (observed === undefined)
    return { requests: [], pods: [], left: [], needsGeneration: false, sharesWithOthers: false };
  const pods = before.pods.filter(({ owner }) => isWanted(owner));
  const rest = before.pods.filter(({ owner }) => !isWanted(owner));
  const needed = [...before.policies].filter(([bridge]) => rest.some((pod) => pod.bridge === bridge));
  const policies = closedTo(new Map(needed), others);
  return {
    requests: changeElements(observed.elements, firewallTable({ pods: rest, policies })),
    pods,
    left: rest,
    needsGeneration: policies.size < before.policies.size,
    sharesWithOthers: policies.size > 0,
  };
}

/**
 * True if all of `wanted` is in the kernel, in a table that is as it should be. If pods of one bridge request different
 * policies, the stricter one applies.
 */
export function holdsFirewall({ table: observed, policies: held }: SeenFirewall, wanted: Firewall): boolean {
  if (observed === undefined || !hasSameShape(firewallTable(EMPTY), observed)) return false;
  const policies = new Map([...stricter(held, wanted.policies)].filter(([bridge]) => wanted.policies.has(bridge)));
  return firewallTable({ ...wanted, policies }).sets.every((set) =>
    holdsElements(set, observed.elements.get(set.name) ?? []),
  );
}
