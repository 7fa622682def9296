/**
 * The table `inet weft-policy-cut`: refuses the remaining packets of TCP connections that were cut.
 *
 * A deleted entry of connection tracking does not end a connection. The next packet of either end makes a new entry
 * (net.netfilter.nf_conntrack_tcp_loose). If the server sends it, the kernel judges a connection from the server to the
 * client, which policies may allow, and the client's packets pass as its replies. The table therefore has the addresses
 * and ports of both directions. It resets such packets, so both ends learn that the connection has ended.
 *
 * The packets of a new connection with the same addresses and ports pass: it begins with SYN, and continues as
 * established. Entries therefore need no removal if policies change again.
 */
import { POLICY_CUT_PRIORITY, POLICY_CUT_TABLE } from "../footprint.ts";
import type { Address, Family } from "../ip/address.ts";
import { counter, goto, matchInSet, matchProtocol } from "../nft/expressions.ts";
import { FAMILIES, familyRule } from "../nft/family-rule.ts";
import { address, destinationPort, sourcePort } from "../nft/selector.ts";
import type { TupleElement, TupleSet } from "../nft/set.ts";
import type { BaseChain, Table } from "../nft/table.ts";
import { matchNewOrInvalid, matchTcpWithout, resetTcp } from "../nft/tcp-statements.ts";

const IPPROTO_TCP = 6;
const TCP_FLAG = { syn: 2, reset: 4 } as const;

/** For as long as the kernel remembers an established connection without packets (its default: five days). */
const REMEMBERED_MS = 432_000_000;

/** The maximum number of elements for each family: two for each connection, with about 200 bytes each. */
const SIZE = 65_536;

/** A TCP connection, with the destination after translation. */
export interface CutConnection {
  readonly from: Address;
  readonly fromPort: number;
  readonly to: Address;
  readonly toPort: number;
}

/** The table with entries for `connections`. */
export function cutTable(connections: readonly CutConnection[]): Table {
  return {
    ...{ family: "inet", name: POLICY_CUT_TABLE, comment: "weft: connections that NetworkPolicies have cut" },
    sets: cutSets(connections),
    chains: [REFUSING, ...(["forward", "input", "output"] as const).map(base)],
  };
}

export function cutSets(connections: readonly CutConnection[]): TupleSet[] {
  return FAMILIES.map((family) => ({
    ...{ kind: "tuples", name: setName(family), comment: "source and destination of cut connections" },
    fields: [`ipv${family}_addr`, "inet_service", `ipv${family}_addr`, "inet_service"],
    dynamic: { size: SIZE, timeoutMs: REMEMBERED_MS },
    elements: connections.filter(({ from }) => from.family === family).flatMap(bothDirections),
  }));
}

function bothDirections({ from, fromPort, to, toPort }: CutConnection): TupleElement[] {
  return [{ values: [from, fromPort, to, toPort] }, { values: [to, toPort, from, fromPort] }];
}

const setName = (family: Family) => `cut${family}`;

const selectors = (family: Family) => [
  ...[address("saddr", family), sourcePort],
  ...[address("daddr", family), destinationPort],
];

const REFUSING = {
  name: "refuse",
  rules: FAMILIES.flatMap((family) => [
    familyRule(family, "cut connections", matchInSet(selectors(family), setName(family)), counter, resetTcp),
  ]),
};

/** SYN begins a new connection. A reset ends the connection at the other side, too. */
const base = (hook: "forward" | "input" | "output"): BaseChain => ({
  ...{ name: hook, type: "filter", hook, priority: POLICY_CUT_PRIORITY },
  rules: [
    {
      comment: "packets in the middle of a connection that is not tracked",
      statements: [
        matchNewOrInvalid,
        matchProtocol(IPPROTO_TCP),
        matchTcpWithout(TCP_FLAG.syn | TCP_FLAG.reset),
        goto(REFUSING.name),
      ],
    },
  ],
});
