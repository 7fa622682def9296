/**
 * The table of `firewall`: which pods it knows, under which addresses, and which bridges are closed to each other. One
 * element for each pod's address, with the attachment's mark as comment; a bridge stands in the table as long as a pod on
 * it wants it to.
 *
 * What the table accepts is only counted: another program's chain may still drop it, and `foreign-forward.ts` sees to
 * that. What it drops is dropped, whatever other chains say.
 */
import { type Address, type Family, formatAddress, isSameAddress } from "../ip/address.ts";
import type { Message, Request } from "../netlink/message.ts";
import type { SetElement } from "../netlink/nftables.ts";
import { changeElements, elementText } from "./nft/change.ts";
import { hasSameShape, readTable, tableDumps } from "./nft/comparison.ts";
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
} from "./nft/expressions.ts";
import { type NftSet, readElement, readTuple, type TupleSet, wireElements } from "./nft/set.ts";
import { addElements, createTable, deleteTable, type Rule, type Table } from "./nft/table.ts";
import type { FieldValue } from "./nft/tuple.ts";

/**
 * `same-bridge`: what comes from another bridge that has a policy too is dropped. `isolated`: also what comes from the
 * same bridge, where the kernel shows such traffic to IP filters (br_netfilter).
 */
export type BridgePolicy = "same-bridge" | "isolated";

/** A pod's address with the owner's mark (at most 127 bytes). */
export interface FirewallPod {
  readonly owner: string;
  readonly address: Address;
  /** The bridge whose policy the pod asks for. */
  readonly bridge?: string;
}

/** What the table holds. */
export interface Firewall {
  readonly pods: readonly FirewallPod[];
  readonly policies: ReadonlyMap<string, BridgePolicy>;
}

const FAMILIES = [4, 6] as const;
const podsSet = (family: Family) => `pods${family}`;
const membersSet = (family: Family) => `bridge-pods${family}`;
const memberFields = (family: Family) => ["ifname", `ipv${family}_addr`] as const;
const BRIDGES = "bridges";
const OPEN_BRIDGES = "open-bridges";
const EMPTY: Firewall = { pods: [], policies: new Map() };

/** `table inet weft_firewall`. */
export function firewallTable({ pods, policies }: Firewall): Table {
  const bridges = [...policies.keys()];
  const open = bridges.filter((bridge) => policies.get(bridge) === "same-bridge");
  return {
    family: "inet",
    name: "weft_firewall",
    comment: "weft: pods that firewall lets through",
    sets: [
      ...FAMILIES.flatMap((family) => podSets(family, pods)),
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
    chains: [{ name: "forward", type: "filter", hook: "forward", priority: 0, rules: rules() }],
  };
}

function podSets(family: Family, pods: readonly FirewallPod[]): NftSet[] {
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

/** Those of sets are refused with ENOENT where the table is absent: that answer is an empty one. */
export function firewallDumps(): Request[] {
  return tableDumps(firewallTable(EMPTY));
}

/** What the answers to `firewallDumps` say, of a table of whatever shape. */
export function readFirewall(seen: readonly Message[]): Firewall {
  const observed = readTable(firewallTable(EMPTY), seen);
  return observed === undefined ? EMPTY : parseElements(observed.elements);
}

function parseElements(elements: ReadonlyMap<string, readonly SetElement[]>): Firewall {
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

/**
 * One transaction that adds `added`; `seen` are the answers to `firewallDumps`. An address that another owner left behind
 * changes hands; a bridge that one pod wants isolated is. A table that is not as it should be (an older version's, or
 * damaged) is made anew with what its elements still tell. EEXIST or ENOENT: it has changed since the dump.
 */
export function addToFirewall(seen: readonly Message[], added: Firewall): Request[] {
  const before = readFirewall(seen);
  const isNew = (address: Address) => added.pods.some((pod) => isSameAddress(pod.address, address));
  const after: Firewall = {
    pods: [...before.pods.filter(({ address }) => !isNew(address)), ...added.pods],
    policies: stricter(before.policies, added.policies),
  };
  const observed = readTable(firewallTable(EMPTY), seen);
  if (observed === undefined) return createTable(firewallTable(after));
  const table = firewallTable(after);
  if (!hasSameShape(table, observed)) return [deleteTable(table, observed.handle), ...createTable(table)];
  return [
    ...changeElements(observed.elements, table),
    // Stated again where they are there: the last pod of the bridge may be leaving at this moment.
    ...table.sets
      .filter(({ name }) => added.policies.size > 0 && (name === BRIDGES || name === OPEN_BRIDGES))
      .flatMap((set) => addElements(table, set, { exclusive: false })),
  ];
}

function stricter(held: Firewall["policies"], added: Firewall["policies"]): Firewall["policies"] {
  const isolated = [...held].filter(([, policy]) => policy === "isolated");
  return new Map([...held, ...added, ...isolated]);
}

/** What `removeFromFirewall` sends. */
export interface Removal {
  readonly requests: readonly Request[];
  /** The pods that leave, and those that stay. */
  readonly pods: readonly FirewallPod[];
  readonly left: readonly FirewallPod[];
  /** A bridge leaves with its last pod: only right while nobody has changed anything since the dump. */
  readonly needsGeneration: boolean;
  /** Bridges stay for others, who may be leaving at this moment. */
  readonly sharesWithOthers: boolean;
}

/** One transaction that removes the pods of all owners that `isWanted` names. ENOENT: they have changed since the dump. */
export function removeFromFirewall(seen: readonly Message[], isWanted: (owner: string) => boolean): Removal {
  const observed = readTable(firewallTable(EMPTY), seen);
  if (observed === undefined)
    return { requests: [], pods: [], left: [], needsGeneration: false, sharesWithOthers: false };
  const before = parseElements(observed.elements);
  const pods = before.pods.filter(({ owner }) => isWanted(owner));
  const rest = before.pods.filter(({ owner }) => !isWanted(owner));
  const policies = new Map([...before.policies].filter(([bridge]) => rest.some((pod) => pod.bridge === bridge)));
  return {
    requests: changeElements(observed.elements, firewallTable({ pods: rest, policies })),
    pods,
    left: rest,
    needsGeneration: policies.size < before.policies.size,
    sharesWithOthers: policies.size > 0,
  };
}

/** True when all of `wanted` is in the kernel, in a table that is as it should be. */
export function holdsFirewall(seen: readonly Message[], wanted: Firewall): boolean {
  const observed = readTable(firewallTable(EMPTY), seen);
  if (observed === undefined || !hasSameShape(firewallTable(EMPTY), observed)) return false;
  return firewallTable(wanted).sets.every((set) => {
    const held = new Set((observed.elements.get(set.name) ?? []).map(elementText));
    return wireElements(set).every((element) => held.has(elementText(element)));
  });
}

/** For people: "10.22.0.2 of cni:net/c1/eth0". */
export function describePod({ address, owner }: FirewallPod): string {
  return `${formatAddress(address)} of ${owner}`;
}
