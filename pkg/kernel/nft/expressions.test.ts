import { expect, test } from "vitest";
import { parseAddress } from "../../ip/address.ts";
import type { Expression } from "../../netlink/nftables.ts";
import {
  accept,
  counter,
  drop,
  jump,
  masquerade,
  matchAddress,
  matchDestinationInSet,
  matchEstablished,
  matchFamily,
  matchInterfaceInSet,
  matchInterfacesInSet,
  matchNotMulticast,
  matchPairInSet,
  matchSourceInSet,
  returnToCaller,
  type Statement,
} from "./expressions.ts";

/** As `nft --debug=netlink` writes expressions, as far as ours go. */
function bytecode(expression: Expression): string {
  const hex = (bytes: Uint8Array | undefined) =>
    `0x${Array.from(bytes ?? [], (b) => b.toString(16).padStart(2, "0")).join("")}`;
  const { kind } = expression;
  switch (kind) {
    case "payload":
      return `payload load ${expression.data?.length}b @ network header + ${expression.data?.offset} => reg ${expression.data?.dreg}`;
    case "meta":
      return `meta load ${expression.data?.key} => reg ${expression.data?.dreg}`;
    case "cmp":
      return `cmp ${expression.data?.op === 0 ? "eq" : "neq"} reg ${expression.data?.sreg} ${hex(expression.data?.data?.value)}`;
    case "bitwise":
      return `bitwise reg ${expression.data?.dreg} = reg ${expression.data?.sreg} & ${hex(expression.data?.mask?.value)}`;
    case "lookup":
      return `lookup reg ${expression.data?.sreg} set ${expression.data?.set} ${expression.data?.flags}`;
    case "masq":
      return `masq flags ${expression.data?.flags ?? 0}`;
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
])("%#: statement, text and bytecode agree", (statement, text, expected) => {
  expect(statement.text).toBe(text);
  expect(statement.expressions.map(bytecode)).toEqual(expected);
});
