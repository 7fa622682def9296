/**
 * The node's masquerading: packets that leave the pods' ranges get the node's address as source. One table, owned by
 * weft, for all pods of the node. Only addresses decide; no packet mark is read or changed.
 */
import { NODE_TABLE, SRCNAT_PRIORITY } from "../footprint.ts";
import type { Address, Family } from "../ip/address.ts";
import type { Prefix } from "../ip/prefix.ts";
import {
  counter,
  masquerade,
  matchDestinationInSet,
  matchFamily,
  matchNotMulticast,
  matchSourceInSet,
} from "../nft/expressions.ts";
import type { NftSet } from "../nft/set.ts";
import type { Chain, Rule, Table } from "../nft/table.ts";

export interface MasqueradeSettings {
  /** The ranges of all pods, on this node and others. Traffic between them is not translated. */
  readonly podRanges: readonly Prefix[];
  /**
   * Destinations outside the ranges that still see a pod's own address: the other nodes with host-gw, which have a
   * route back. With vxlan there are none: a packet to a node uses the underlay, where a pod's address is unknown.
   */
  readonly exempt: readonly Address[];
  /** Networks outside the ranges that see a pod's own address, because they have a route back to it. */
  readonly nonMasquerade?: readonly Prefix[];
  /**
   * Hosts outside the cluster that reach pods of other nodes through this one. Without this node's address as source,
   * the replies would not return through it.
   */
  readonly outsideHosts?: readonly Prefix[];
}

/** Makes `table inet weft`. Rules depend only on the families; ranges and exempt addresses are elements. */
export function nodeMasquerade(settings: MasqueradeSettings): Table {
  const { podRanges, exempt, nonMasquerade = [], outsideHosts = [] } = settings;
  const families = ([4, 6] as const).filter((family) => podRanges.some(({ address }) => address.family === family));
  const outside = families.filter((family) => outsideHosts.some(({ address }) => address.family === family));
  return {
    family: "inet",
    name: NODE_TABLE,
    comment: "weftd: the node's rules",
    sets: families.flatMap((family): NftSet[] => [
      {
        kind: "prefixes",
        name: rangesSet(family),
        comment: "addresses of all pods in the cluster",
        family,
        elements: podRanges.filter(({ address }) => address.family === family),
      },
      {
        kind: "addresses",
        name: exemptSet(family),
        comment: "nodes that see pods' own addresses",
        family,
        elements: distinct(exempt.filter((address) => address.family === family)).map((address) => ({ address })),
      },
      {
        kind: "prefixes",
        name: nonMasqueradeSet(family),
        comment: "networks that see pods' own addresses",
        family,
        elements: nonMasquerade.filter(({ address }) => address.family === family),
      },
      ...(outside.includes(family) ? [outsideHostsOf(family, outsideHosts)] : []),
    ]),
    chains: [postrouting([...families.map(nodeRule), ...outside.map(outsideRule)])],
  };
}

const rangesSet = (family: Family) => `pod-ranges${family}`;
const nonMasqueradeSet = (family: Family) => `non-masquerade${family}`;
export const exemptSet = (family: Family) => `exempt${family}`;

function nodeRule(family: Family): Rule {
  return {
    comment: `pods to the outside, IPv${family}`,
    statements: [
      matchFamily(family),
      matchSourceInSet(family, rangesSet(family)),
      matchDestinationInSet(family, rangesSet(family), { invert: true }),
      matchDestinationInSet(family, exemptSet(family), { invert: true }),
      matchDestinationInSet(family, nonMasqueradeSet(family), { invert: true }),
      matchNotMulticast(family),
      counter,
      masquerade({ fullyRandom: true }),
    ],
  };
}

const outsideSet = (family: Family) => `outside-hosts${family}`;

function outsideHostsOf(family: Family, hosts: readonly Prefix[]): NftSet {
  return {
    kind: "prefixes",
    name: outsideSet(family),
    comment: "hosts outside the cluster that this node forwards for",
    family,
    elements: hosts.filter(({ address }) => address.family === family),
  };
}

function outsideRule(family: Family): Rule {
  return {
    comment: `hosts outside to pods, IPv${family}`,
    statements: [
      matchFamily(family),
      matchSourceInSet(family, outsideSet(family)),
      matchDestinationInSet(family, rangesSet(family)),
      counter,
      masquerade({ fullyRandom: true }),
    ],
  };
}

/** The base chain for masquerading. */
export function postrouting(rules: readonly Rule[]): Chain {
  return { name: "postrouting", type: "nat", hook: "postrouting", priority: SRCNAT_PRIORITY, rules };
}

/** Removes duplicates, because the kernel refuses an address that is given twice. */
export function distinct(addresses: readonly Address[]): Address[] {
  return [...new Map(addresses.map((address) => [address.value, address])).values()];
}
