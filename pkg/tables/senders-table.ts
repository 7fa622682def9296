/**
 * The tables `weft-senders`, which drop packets with forged senders from pods (`guardSenders`): `bridge weft-senders` for
 * ports of bridges, `inet weft-senders` for the host's ends of ptp's veth pairs.
 *
 * The rules are the same for any number of pods: each guarded port is one element in the set of ports, and one for each
 * address that it may use. All elements have the attachment's mark as comment. A packet from another port costs one
 * lookup.
 *
 * For ptp, interface and source must be a pair in the set. This is at least as strict as a reverse path filter (`fib saddr
 * . iif`): the pod's host routes are the routes through its interface, and no other route, such as one of an
 * administrator, adds to the set.
 *
 * The kernel passes frames to reserved hardware addresses, such as LLDP's (01:80:c2:00:00:0e), from a bridge's port to IP
 * without a hook of the bridge. So each bridged port is a port without addresses in the table of family inet, too. Frames
 * that cross the bridge do not meet it there: their interface is the bridge, also if br_netfilter passes them to IP's hooks.
 */
import { BRIDGE_DSTNAT_PRIORITY, RAW_PRIORITY, SENDERS_TABLE } from "../footprint.ts";
import type { Address } from "../ip/address.ts";
import { linkLocalOf } from "../ip/mac.ts";
import {
  accept,
  counter,
  drop,
  goto,
  jump,
  matchAddress,
  matchFamily,
  matchInSet,
  type Statement,
} from "../nft/expressions.ts";
import {
  matchArpRequest,
  matchArpWithoutSender,
  matchDhcpClient,
  matchEtherProtocol,
  matchEtherType,
  matchIcmpv6,
  matchIcmpv6Type,
  matchMayBeForwarded,
} from "../nft/protocol-matches.ts";
import {
  address,
  arpSenderAddress,
  arpSenderMac,
  etherSource,
  interfaceName,
  neighbourTarget,
  type Selector,
} from "../nft/selector.ts";
import type { TupleElement, TupleSet } from "../nft/set.ts";
import type { Chain, RegularChain, Rule, Table } from "../nft/table.ts";
import type { Field } from "../nft/tuple.ts";

/** `bridge` for ports of bridges, `inet` for the host's ends of routed pods. */
export const SENDERS_FAMILIES = ["bridge", "inet"] as const;
export type SendersFamily = (typeof SENDERS_FAMILIES)[number];

/** The port of an attachment, and what it may send. */
export interface GuardedSender {
  readonly family: SendersFamily;
  /** The owner's mark, at most 127 bytes. */
  readonly owner: string;
  /** The host's end of the veth pair. */
  readonly port: string;
  /** The hardware address of the pod's end. Undefined if the port may not use neighbour discovery. */
  readonly mac: string | undefined;
  readonly addresses: readonly Address[];
  /** True if the pod may ask for an address by DHCPv4. */
  readonly asksDhcp: boolean;
}

/** A table whose sets all have tuples. */
export type SendersTable = Omit<Table, "sets"> & { readonly sets: readonly TupleSet[] };

const PORTS = "ports";
const CLIENTS = "dhcp-clients";
const MACS = "macs";
const ADDRESSES_4 = "addresses4";
const ADDRESSES_6 = "addresses6";
const NEIGHBOURS = "neighbours6";
const TARGETS = "targets6";

/** True for the sets whose keys are a port and an address of its pod. */
export function isAddressSet(name: string): boolean {
  return name === ADDRESSES_4 || name === ADDRESSES_6;
}

interface SetKind {
  readonly name: string;
  readonly comment: string;
  readonly fields: readonly Field[];
  /** The values that follow the port in the keys of a sender's elements. */
  readonly values: (sender: GuardedSender) => readonly (readonly (Address | string)[])[];
}

const ofFamily =
  (family: 4 | 6) =>
  ({ addresses }: GuardedSender) =>
    addresses.filter((each) => each.family === family).map((each) => [each]);

/** The addresses for which the pod answers neighbour solicitations. */
const neighbours = (sender: GuardedSender) => [
  ...(sender.mac === undefined ? [] : [[linkLocalOf(sender.mac)]]),
  ...ofFamily(6)(sender),
];

const SETS: readonly SetKind[] = [
  { name: PORTS, comment: "guarded ports", fields: ["ifname"], values: () => [[]] },
  {
    name: ADDRESSES_4,
    comment: "IPv4 sources of each port",
    fields: ["ifname", "ipv4_addr"],
    values: ofFamily(4),
  },
  {
    name: ADDRESSES_6,
    comment: "IPv6 sources of each port",
    fields: ["ifname", "ipv6_addr"],
    values: ofFamily(6),
  },
  {
    name: NEIGHBOURS,
    comment: "sources of neighbour discovery, with the link-local address",
    fields: ["ifname", "ipv6_addr"],
    values: neighbours,
  },
  {
    name: TARGETS,
    comment: "the same as targets that a port may claim",
    fields: ["ifname", "nd_target"],
    values: neighbours,
  },
];

const BRIDGE_SETS: readonly SetKind[] = [
  {
    name: MACS,
    comment: "the hardware address of each port",
    fields: ["ifname", "ether_addr"],
    values: ({ mac }) => (mac === undefined ? [] : [[mac]]),
  },
  {
    name: CLIENTS,
    comment: "ports that may ask for an address by DHCP",
    fields: ["ifname"],
    values: ({ asksDhcp }) => (asksDhcp ? [[]] : []),
  },
];

function setsOf(family: SendersFamily): readonly SetKind[] {
  return family === "bridge" ? [...SETS, ...BRIDGE_SETS] : SETS;
}

const input = interfaceName("iifname");
const refused = [counter, drop];

/** Matches the port together with the value of `selector`. */
function matchPortAnd(selector: Selector, set: string, isIn = true): Statement {
  return matchInSet([input, selector], set, { invert: !isIn });
}

function rule(comment: string, ...statements: readonly Statement[]): Rule {
  return { comment, statements };
}

const MLD_TYPES = [130, 131, 132, 143];
const ROUTER_SOLICITATION = 133;
const ROUTER_ADVERTISEMENT = 134;
const NEIGHBOUR_SOLICITATION = 135;
const NEIGHBOUR_ADVERTISEMENT = 136;
const REDIRECT = 137;
const UNSPECIFIED: Address = { family: 6, value: 0n };

/** The chains for packets of the network layer, which both families share. */
function packetChains(family: SendersFamily): RegularChain[] {
  const ipv4 = family === "bridge" ? matchEtherProtocol("ip") : matchFamily(4);
  const ipv6 = family === "bridge" ? matchEtherProtocol("ip6") : matchFamily(6);
  const isNeighbour = [ipv6, matchPortAnd(address("saddr", 6), NEIGHBOURS)];
  const isUnspecified = [ipv6, matchAddress("saddr", UNSPECIFIED)];
  const isTarget = [matchIcmpv6, matchPortAnd(neighbourTarget, TARGETS)];
  return [
    {
      name: "ipv4-packets",
      rules: [
        rule("own sources", ipv4, matchPortAnd(address("saddr", 4), ADDRESSES_4), accept),
        ...(family === "bridge"
          ? [
              rule(
                "requests for an address",
                ipv4,
                matchAddress("saddr", { family: 4, value: 0n }),
                matchInSet([input], CLIENTS),
                matchDhcpClient(),
                accept,
              ),
            ]
          : []),
        rule("forged IPv4 sources", ...refused),
      ],
    },
    {
      name: "ipv6-packets",
      rules: [
        rule("neighbour discovery and multicast listeners", matchIcmpv6, jump("icmpv6-packets")),
        rule("own sources", ipv6, matchPortAnd(address("saddr", 6), ADDRESSES_6), accept),
        rule("forged IPv6 sources", ...refused),
      ],
    },
    {
      name: "icmpv6-packets",
      rules: [
        rule("solicitations", matchIcmpv6Type(NEIGHBOUR_SOLICITATION), goto("solicitations")),
        rule("advertisements", matchIcmpv6Type(NEIGHBOUR_ADVERTISEMENT), goto("advertisements")),
        rule("a pod is no router", matchIcmpv6Type(ROUTER_ADVERTISEMENT), ...refused),
        rule("a pod is no router", matchIcmpv6Type(REDIRECT), ...refused),
        ...[ROUTER_SOLICITATION, ...MLD_TYPES].map((type) =>
          rule("from the link", matchIcmpv6Type(type), goto("link-packets")),
        ),
      ],
    },
    {
      name: "solicitations",
      rules: [
        rule("not from this link", ipv6, matchMayBeForwarded, ...refused),
        rule("own sources", ...isNeighbour, accept),
        rule("duplicate address detection", ...isUnspecified, ...isTarget, accept),
        rule("forged solicitations", ...refused),
      ],
    },
    {
      name: "advertisements",
      rules: [
        rule("not from this link", ipv6, matchMayBeForwarded, ...refused),
        rule("own sources and targets", ...isNeighbour, ...isTarget, accept),
        rule("forged advertisements", ...refused),
      ],
    },
    {
      name: "link-packets",
      rules: [
        rule("own sources", ...isNeighbour, accept),
        rule("no source yet", ...isUnspecified, accept),
        rule("forged sources", ...refused),
      ],
    },
  ];
}

/** The chains for frames, in the order in which nft reads them: the targets of jumps come first. */
function bridgeChains(): Chain[] {
  const arp = matchEtherProtocol("arp");
  return [
    ...packetChains("bridge"),
    {
      name: "arp-packets",
      rules: [
        rule("forged hardware addresses", arp, matchPortAnd(arpSenderMac, MACS, false), ...refused),
        rule("own addresses", arp, matchPortAnd(arpSenderAddress, ADDRESSES_4), accept),
        rule("probes", arp, matchArpRequest, matchArpWithoutSender, accept),
        rule("forged addresses", ...refused),
      ],
    },
    {
      name: "guarded",
      rules: [
        rule("forged hardware addresses", matchPortAnd(etherSource, MACS, false), ...refused),
        rule("IPv4", matchEtherType("ip"), goto("ipv4-packets")),
        rule("IPv6", matchEtherType("ip6"), goto("ipv6-packets")),
        rule("ARP", matchEtherType("arp"), goto("arp-packets")),
        rule("VLAN tags and other protocols", ...refused),
      ],
    },
    {
      name: "prerouting",
      type: "filter",
      hook: "prerouting",
      priority: BRIDGE_DSTNAT_PRIORITY,
      rules: [rule("guarded ports", matchInSet([input], PORTS), goto("guarded"))],
    },
  ];
}

function routedChains(): Chain[] {
  return [
    ...packetChains("inet"),
    {
      name: "guarded",
      rules: [rule("IPv4", matchFamily(4), goto("ipv4-packets")), rule("IPv6", matchFamily(6), goto("ipv6-packets"))],
    },
    {
      name: "prerouting",
      type: "filter",
      hook: "prerouting",
      priority: RAW_PRIORITY,
      rules: [rule("guarded ports", matchInSet([input], PORTS), goto("guarded"))],
    },
  ];
}

/** Makes the family's table with these elements, by set. */
export function tableWith(
  family: SendersFamily,
  elements: (set: Pick<SetKind, "name" | "fields">) => readonly TupleElement[],
): SendersTable {
  return {
    family,
    name: SENDERS_TABLE,
    comment: "weft: what guarded pods may send",
    sets: setsOf(family).map(({ name, comment, fields }) => ({
      ...{ kind: "tuples" as const, name, comment, fields },
      elements: elements({ name, fields }),
    })),
    // ADD and DEL change only elements, so they do not build the rules.
    get chains() {
      return family === "bridge" ? bridgeChains() : routedChains();
    },
  };
}

/** Makes the family's table with the elements of those senders that are of this family. */
export function sendersTable(family: SendersFamily, senders: readonly GuardedSender[]): SendersTable {
  const kinds = new Map(setsOf(family).map((kind) => [kind.name, kind]));
  const own = senders.filter((sender) => sender.family === family);
  return tableWith(family, ({ name }) =>
    own.flatMap((sender) =>
      (kinds.get(name)?.values(sender) ?? []).map((values) => ({
        values: [sender.port, ...values],
        comment: sender.owner,
      })),
    ),
  );
}
