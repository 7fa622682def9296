import { expect, test } from "vitest";
import { parseAddress } from "../ip/address.ts";
import { parsePrefix } from "../ip/prefix.ts";
import type { Expression } from "../netlink/nftables.ts";
import { matchAnyPriority } from "./dynamic-statements.ts";
import {
  accept,
  counter,
  destinationByMap,
  drop,
  jump,
  masquerade,
  matchAddress,
  matchDestinationInSet,
  matchEstablished,
  matchFamily,
  matchInterfaceInSet,
  matchInterfacesInSet,
  matchLocalDestination,
  matchMark,
  matchNeighbourDiscovery,
  matchNotFromLoopback,
  matchNotMulticast,
  matchPairInSet,
  matchPrefix,
  matchSourceInSet,
  matchTranslatedDestination,
  returnToCaller,
  type Statement,
  setMark,
  verdictByMap,
} from "./expressions.ts";
import { limitPerSecond, log } from "./log-statements.ts";
import { address, destinationPort, transportProtocol } from "./selector.ts";

/** Formats expressions as `nft --debug=netlink` does, for the kinds that weft uses. */
function bytecode(expression: Expression): string {
  const hex = (bytes: Uint8Array | undefined) =>
    `0x${Array.from(bytes ?? [], (b) => b.toString(16).padStart(2, "0")).join("")}`;
  const { kind } = expression;
  switch (kind) {
    case "payload":
      return `payload load ${expression.data?.length}b @ ${expression.data?.base === 2 ? "transport" : "network"} header + ${expression.data?.offset} => reg ${expression.data?.dreg}`;
    case "meta":
      if (expression.data?.sreg !== undefined)
        return `meta set ${expression.data.key} with reg ${expression.data.sreg}`;
      return `meta load ${expression.data?.key} => reg ${expression.data?.dreg}`;
    case "cmp":
      return `cmp ${["eq", "neq", "lt", "lte", "gt", "gte"][expression.data?.op ?? 0]} reg ${expression.data?.sreg} ${hex(expression.data?.data?.value)}`;
    case "bitwise":
      return `bitwise reg ${expression.data?.dreg} = reg ${expression.data?.sreg} & ${hex(expression.data?.mask?.value)}${/[^0x]/.test(hex(expression.data?.xor?.value)) ? ` ^ ${hex(expression.data?.xor?.value)}` : ""}`;
    case "lookup":
      return `lookup reg ${expression.data?.sreg} set ${expression.data?.set} ${expression.data?.dreg === undefined ? expression.data?.flags : `dreg ${expression.data.dreg}`}`;
    case "nat":
      return `nat ${expression.data?.type} family ${expression.data?.family} address ${expression.data?.addressMin} port ${expression.data?.portMin}`;
    case "fib":
      return `fib result ${expression.data?.result} flags ${expression.data?.flags} => reg ${expression.data?.dreg}`;
    case "masq":
      return `masq flags ${expression.data?.flags ?? 0}`;
    case "log":
      return `log prefix ${expression.data?.prefix} group ${expression.data?.group} snaplen ${expression.data?.snapLength}`;
    case "limit":
      return `limit rate ${expression.data?.rate}/${expression.data?.unit}s burst ${expression.data?.burst} type ${expression.data?.type}`;
    case "immediate":
      return `immediate reg ${expression.data?.dreg} ${expression.data?.data?.verdict?.code} ${expression.data?.data?.verdict?.chain ?? ""}`.trim();
    case "ct":
      return `ct load ${expression.data?.key} => reg ${expression.data?.dreg}`;
    default:
      return kind;
  }
}

test.each<[Statement, string, string[]]>([
  [matchFamily(4), "meta nfproto ipv4", ["meta load 15 => reg 1", "cmp eq reg 1 0x02"]],
  [matchFamily(6), "meta nfproto ipv6", ["meta load 15 => reg 1", "cmp eq reg 1 0x0a"]],
  [
    matchAddress("saddr", parseAddress("10.1.0.2")),
    "ip saddr 10.1.0.2",
    ["payload load 4b @ network header + 12 => reg 1", "cmp eq reg 1 0x0a010002"],
  ],
  [
    matchAddress("daddr", parseAddress("fd00::2")),
    "ip6 daddr fd00::2",
    ["payload load 16b @ network header + 24 => reg 1", "cmp eq reg 1 0xfd000000000000000000000000000002"],
  ],
  [
    matchEstablished,
    "ct state established,related",
    ["ct load 0 => reg 1", "bitwise reg 1 = reg 1 & 0x06000000", "cmp neq reg 1 0x00000000"],
  ],
  [matchInterfaceInSet("oifname", "s"), "oifname @s", ["meta load 7 => reg 1", "lookup reg 1 set s 0"]],
  [
    matchInterfacesInSet("s"),
    "iifname . oifname @s",
    ["meta load 6 => reg 1", "meta load 7 => reg 2", "lookup reg 1 set s 0"],
  ],
  [
    matchPrefix("saddr", parsePrefix("127.0.0.0/8")),
    "ip saddr 127.0.0.0/8",
    ["payload load 1b @ network header + 12 => reg 1", "cmp eq reg 1 0x7f"],
  ],
  [
    matchPrefix("daddr", parsePrefix("fc00::/7"), { invert: true }),
    "ip6 daddr != fc00::/7",
    [
      "payload load 16b @ network header + 24 => reg 1",
      `bitwise reg 1 = reg 1 & 0xfe${"00".repeat(15)}`,
      `cmp neq reg 1 0xfc${"00".repeat(15)}`,
    ],
  ],
  [
    matchTranslatedDestination,
    "ct status dnat",
    ["ct load 2 => reg 1", "bitwise reg 1 = reg 1 & 0x20000000", "cmp neq reg 1 0x00000000"],
  ],
  [matchLocalDestination, "fib daddr type local", ["fib result 3 flags 2 => reg 1", "cmp eq reg 1 0x02000000"]],
  [matchNotFromLoopback, 'iif != "lo"', ["meta load 4 => reg 1", "cmp neq reg 1 0x01000000"]],
  [
    matchMark(0x2000),
    "meta mark & 0x00002000 == 0x00002000",
    ["meta load 3 => reg 1", "bitwise reg 1 = reg 1 & 0x00200000", "cmp eq reg 1 0x00200000"],
  ],
  [
    setMark(0x2000),
    "meta mark set meta mark | 0x00002000",
    ["meta load 3 => reg 1", "bitwise reg 1 = reg 1 & 0xffdfffff ^ 0x00200000", "meta set 3 with reg 1"],
  ],
  [
    verdictByMap([address("daddr", 6), transportProtocol, destinationPort, address("saddr", 6)], "m"),
    "ip6 daddr . meta l4proto . th dport . ip6 saddr vmap @m",
    [
      "payload load 16b @ network header + 24 => reg 1",
      "meta load 16 => reg 2",
      "payload load 2b @ transport header + 2 => reg 13",
      "payload load 16b @ network header + 8 => reg 14",
      "lookup reg 1 set m dreg 0",
    ],
  ],
  [
    destinationByMap(4, [address("daddr", 4), transportProtocol, destinationPort], "m"),
    "dnat ip to ip daddr . meta l4proto . th dport map @m",
    [
      "payload load 4b @ network header + 16 => reg 1",
      "meta load 16 => reg 9",
      "payload load 2b @ transport header + 2 => reg 10",
      "lookup reg 1 set m dreg 1",
      "nat 1 family 2 address 1 port 9",
    ],
  ],
  [
    destinationByMap(6, [transportProtocol, destinationPort], "m"),
    "dnat ip6 to meta l4proto . th dport map @m",
    [
      "meta load 16 => reg 1",
      "payload load 2b @ transport header + 2 => reg 9",
      "lookup reg 1 set m dreg 1",
      "nat 1 family 10 address 1 port 2",
    ],
  ],
  [
    matchNeighbourDiscovery,
    "icmpv6 type 133-137",
    [
      ...["meta load 15 => reg 1", "cmp eq reg 1 0x0a", "meta load 16 => reg 1", "cmp eq reg 1 0x3a"],
      ...["payload load 1b @ transport header + 0 => reg 1", "cmp gte reg 1 0x85", "cmp lte reg 1 0x89"],
    ],
  ],
  [matchAnyPriority, "meta priority != none", ["meta load 2 => reg 1", "cmp neq reg 1 0x00000000"]],
  [
    log({ prefix: "weft deny 1", group: 119, snapLength: 128 }),
    'log prefix "weft deny 1" group 119 snaplen 128',
    ["log prefix weft deny 1 group 119 snaplen 128"],
  ],
  [limitPerSecond(10, 20), "limit rate 10/second burst 20 packets", ["limit rate 10/1s burst 20 type 0"]],
  [drop, "drop", ["immediate reg 0 0"]],
  [jump("c"), "jump c", [`immediate reg 0 ${-3 >>> 0} c`]],
  [matchSourceInSet(4, "s"), "ip saddr @s", ["payload load 4b @ network header + 12 => reg 1", "lookup reg 1 set s 0"]],
  [
    matchSourceInSet(6, "s", { invert: true }),
    "ip6 saddr != @s",
    ["payload load 16b @ network header + 8 => reg 1", "lookup reg 1 set s 1"],
  ],
  [
    matchDestinationInSet(4, "s", { invert: true }),
    "ip daddr != @s",
    ["payload load 4b @ network header + 16 => reg 1", "lookup reg 1 set s 1"],
  ],
  [
    matchDestinationInSet(6, "s"),
    "ip6 daddr @s",
    ["payload load 16b @ network header + 24 => reg 1", "lookup reg 1 set s 0"],
  ],
  [
    matchPairInSet(4, "s"),
    "ip saddr . ip daddr @s",
    [
      "payload load 4b @ network header + 12 => reg 1",
      "payload load 4b @ network header + 16 => reg 9",
      "lookup reg 1 set s 0",
    ],
  ],
  [
    matchPairInSet(6, "s", { invert: true }),
    "ip6 saddr . ip6 daddr != @s",
    [
      "payload load 16b @ network header + 8 => reg 1",
      "payload load 16b @ network header + 24 => reg 2",
      "lookup reg 1 set s 1",
    ],
  ],
  [
    matchNotMulticast(4),
    "ip daddr != 224.0.0.0/4",
    [
      "payload load 4b @ network header + 16 => reg 1",
      "bitwise reg 1 = reg 1 & 0xf0000000",
      "cmp neq reg 1 0xe0000000",
    ],
  ],
  [
    matchNotMulticast(6),
    "ip6 daddr != ff00::/8",
    ["payload load 1b @ network header + 24 => reg 1", "cmp neq reg 1 0xff"],
  ],
  [masquerade({ fullyRandom: true }), "masquerade fully-random", ["masq flags 16"]],
  [masquerade({ fullyRandom: false }), "masquerade", ["masq flags 0"]],
  [counter, "counter", ["counter"]],
  [accept, "accept", ["immediate reg 0 1"]],
  [returnToCaller, "return", [`immediate reg 0 ${2 ** 32 - 5}`]],
])("%#: the statement has this text and bytecode", (statement, text, expected) => {
  expect(statement.text).toBe(text);
  expect(statement.expressions.map(bytecode)).toEqual(expected);
});
