import { describe, expect, test } from "vitest";
import { addressToBytes, parseAddress } from "../ip/address.ts";
import { parseSubnet } from "../ip/prefix.ts";
import { type Expression, NF_INET_HOOK, NFPROTO, NFT_REG, type SetElement, VERDICT } from "../netlink/nftables.ts";
import { RTN_UNICAST } from "../netlink/route.ts";
import {
  accept,
  counter,
  drop,
  jump,
  masquerade,
  matchAddress,
  matchEstablished,
  matchFamily,
  matchInSet,
  matchInterfaceInSet,
  matchPrefix,
  matchSourceInSet,
  returnToCaller,
  type Statement,
} from "../nft/expressions.ts";
import { matchVxlan } from "../nft/protocol-matches.ts";
import type { ChainPlace, NftChain, NftRule } from "../nft/ruleset.ts";
import { address, transportProtocol } from "../nft/selector.ts";
import { interfaceNameBytes } from "../nft/tuple.ts";
import { IPPROTO, type Packet } from "./packet.ts";
import { type Ruleset, walk } from "./ruleset.ts";

const PACKET: Packet = {
  source: parseAddress("10.1.0.2"),
  destination: parseAddress("10.2.0.2"),
  protocol: IPPROTO.tcp,
  input: { name: "cni0", index: 7 },
  output: { name: "flannel.1", index: 8 },
  destinationType: RTN_UNICAST,
};

const place = (chain: string): ChainPlace => ({ family: NFPROTO.inet, table: "site", chain });
const base = (chain: string, more: Partial<NftChain> = {}): NftChain => ({
  ...{ ...place(chain), hook: NF_INET_HOOK.forward, policy: VERDICT.accept, priority: 0, type: "filter" },
  ...{ comment: undefined, use: 0, ...more },
});

let handle = 0n;
function rulesOf(chain: string, ...rules: readonly (readonly Statement[])[]): NftRule[] {
  return rules.map((statements) => ({
    ...place(chain),
    handle: ++handle,
    expressions: statements.flatMap(({ expressions }) => expressions),
    comment: undefined,
  }));
}

function ruleset(
  bases: readonly NftChain[],
  rules: readonly NftRule[],
  sets: Readonly<Record<string, readonly SetElement[]>> = {},
): Ruleset {
  return {
    bases,
    rulesOf: ({ chain }) => rules.filter((rule) => rule.chain === chain),
    elementsOf: (_table, set) => sets[set],
  };
}

const raw = (...expressions: Expression[]): Statement => ({ text: "", expressions });
const goesTo = (chain: string): Statement =>
  raw({ kind: "immediate", data: { dreg: NFT_REG.verdict, data: { verdict: { code: VERDICT.goto >>> 0, chain } } } });
const key = (text: string): SetElement => ({ key: { value: addressToBytes(parseAddress(text)) } });

const decided = (rules: readonly NftRule[], sets?: Record<string, readonly SetElement[]>, packet = PACKET) =>
  walk(ruleset([base("a")], rules, sets), NF_INET_HOOK.forward, packet);

describe("a rule with", () => {
  const cases: [string, readonly Statement[], Record<string, readonly SetElement[]> | undefined, boolean][] = [
    ["the source", [matchAddress("saddr", parseAddress("10.1.0.2"))], undefined, true],
    ["another source", [matchAddress("saddr", parseAddress("10.1.0.3"))], undefined, false],
    ["the destination's network", [matchPrefix("daddr", parseSubnet("10.2.0.0/20"))], undefined, true],
    [
      "the destination outside its network",
      [matchPrefix("daddr", parseSubnet("10.2.0.0/20"), { invert: true })],
      undefined,
      false,
    ],
    ["the other family", [matchFamily(6)], undefined, false],
    ["established connections", [matchEstablished], undefined, false],
    ["a set that contains the source", [matchSourceInSet(4, "s")], { s: [key("10.9.9.9"), key("10.1.0.2")] }, true],
    ["a set without the source", [matchSourceInSet(4, "s")], { s: [key("10.9.9.9")] }, false],
    [
      "a range that contains the source",
      [matchSourceInSet(4, "s")],
      { s: [key("10.1.0.0"), { ...key("10.1.1.0"), flags: 1 }] },
      true,
    ],
    [
      "a range that ends before the source",
      [matchSourceInSet(4, "s")],
      { s: [key("10.0.0.0"), { ...key("10.1.0.0"), flags: 1 }] },
      false,
    ],
    [
      "a set that contains the interface",
      [matchInterfaceInSet("iifname", "s")],
      { s: [{ key: { value: interfaceNameBytes("cni0") } }] },
      true,
    ],
    ["a counter", [counter], undefined, true],
  ];
  test.each(cases)("%s", (_name, statements, sets, drops) => {
    const { ending, perhaps } = decided(rulesOf("a", [...statements, drop]), sets);
    expect({ action: ending?.action, perhaps }).toEqual({ action: drops ? "drop" : undefined, perhaps: [] });
  });
});

test.each<[string, string, boolean]>([
  // A range compares each field as a number, not byte by byte.
  ["0.0.0.0", "10.1.255.255", false],
  ["10.1.255.255", "255.255.255.255", true],
  ["10.1.200.200", "11.0.0.0", true],
])("a protocol and an address are within a range from %s to %s: %s", (from, to, drops) => {
  const row = (text: string) => Uint8Array.of(PACKET.protocol ?? 0, 0, 0, 0, ...addressToBytes(parseAddress(text)));
  const element = { key: { value: row(from) }, keyEnd: { value: row(to) } };
  const matching = matchInSet([transportProtocol, address("daddr", 4)], "s");
  const { ending, perhaps } = decided(rulesOf("a", [matching, drop]), { s: [element] });
  expect({ action: ending?.action, perhaps }).toEqual({ action: drops ? "drop" : undefined, perhaps: [] });
});

test("matches VXLAN packets by port and VNI", () => {
  const vxlan: Packet = { ...PACKET, protocol: IPPROTO.udp, destinationPort: 8472, vni: 1 };
  const rules = rulesOf("a", [matchVxlan({ port: 8472, vni: 1 }), drop]);
  expect(decided(rules, undefined, vxlan).ending?.action).toBe("drop");
  expect(decided(rules, undefined, { ...vxlan, vni: 2 }).ending).toBeUndefined();
});

test("a rule about unknown bytes may match, and evaluation continues", () => {
  const { destinationPort: _none, ...portless } = { ...PACKET, protocol: IPPROTO.udp, destinationPort: undefined };
  const rules = rulesOf("a", [matchVxlan({ port: 8472, vni: 1 }), accept], [drop]);
  const { ending, perhaps } = decided(rules, undefined, portless);
  expect(ending).toMatchObject({ action: "drop", rule: { handle: rules[1]?.handle } });
  expect(perhaps).toMatchObject([{ action: "accept", rule: { handle: rules[0]?.handle } }]);
});

test("a rule with an unknown expression may match", () => {
  const strange = raw({ kind: "limit" } as unknown as Expression);
  expect(decided(rulesOf("a", [strange, drop]))).toMatchObject({ ending: undefined, perhaps: [{ action: "drop" }] });
});

test("jump returns, goto does not, and return continues in the caller", () => {
  const inner = rulesOf("inner", [matchFamily(6), drop], [returnToCaller], [drop]);
  expect(decided([...rulesOf("a", [jump("inner")], [drop]), ...inner]).ending?.action).toBe("drop");
  expect(decided([...rulesOf("a", [jump("inner")]), ...inner]).ending).toBeUndefined();
  expect(decided([...rulesOf("a", [goesTo("empty")], [drop])]).ending).toBeUndefined();
});

test("a drop policy applies at the end of its chain, even after an accept in an earlier chain", () => {
  const bases = [base("late", { priority: 10, policy: VERDICT.drop }), base("early", { priority: -10 })];
  const rules = rulesOf("early", [accept]);
  const { ending } = walk(ruleset(bases, rules), NF_INET_HOOK.forward, PACKET);
  expect(ending).toMatchObject({ action: "drop", rule: undefined, chain: { chain: "late" } });
});

test("applies the first address translation only, and no chains of other hooks and families", () => {
  const nat = { hook: NF_INET_HOOK.postrouting, type: "nat" };
  const bases = [
    base("second", { ...nat, priority: 100 }),
    base("first", { ...nat, priority: 50 }),
    base("else", { hook: NF_INET_HOOK.input, policy: VERDICT.drop }),
    { ...base("ip6", { hook: NF_INET_HOOK.postrouting, policy: VERDICT.drop }), family: NFPROTO.ip6 },
  ];
  const rules = [...rulesOf("first", [masquerade({ fullyRandom: false })]), ...rulesOf("second", [drop])];
  const { ending, translation } = walk(ruleset(bases, rules), NF_INET_HOOK.postrouting, PACKET);
  expect({ ending, action: translation?.action, chain: translation?.chain.chain }).toEqual({
    ...{ ending: undefined, action: "masquerade", chain: "first" },
  });
});
