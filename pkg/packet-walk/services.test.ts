/** Rules that choose one of several endpoints at random, and masquerade the connection by its mark. */
import { expect, test } from "vitest";
import { addressToBytes, parseAddress } from "../ip/address.ts";
import {
  type Expression,
  NF_INET_HOOK,
  NF_NAT_RANGE,
  NFPROTO,
  NFT_FIB_FLAG,
  NFT_FIB_RESULT,
  NFT_META,
  NFT_NAT,
  NFT_NG_RANDOM,
  NFT_REG,
  NFT_REG32_00,
  type SetElement,
  VERDICT,
} from "../netlink/nftables.ts";
import { RTN_LOCAL, RTN_UNICAST } from "../netlink/route.ts";
import { counter, drop, masquerade, matchMark, type Statement, setMark } from "../nft/expressions.ts";
import type { ChainPlace, NftChain, NftRule } from "../nft/ruleset.ts";
import { address, destinationPort, loadRow, transportProtocol } from "../nft/selector.ts";
import { IPPROTO, type Packet } from "./packet.ts";
import { type Choice, type Ruleset, walk } from "./ruleset.ts";
import { Scratch } from "./scratch.ts";

const TABLE = { family: NFPROTO.inet, table: "t" };
const ROW = [address("daddr", 4), transportProtocol, destinationPort];
const MARK = 0x4000;
const PACKET: Packet = {
  source: parseAddress("10.1.0.2"),
  destination: parseAddress("10.96.0.10"),
  protocol: IPPROTO.tcp,
  destinationPort: 80,
  destinationType: RTN_UNICAST,
  sourceType: RTN_UNICAST,
};

const word = (value: number) => {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
};
const padded = (...parts: readonly Iterable<number>[]) =>
  Uint8Array.from(
    parts.flatMap((part) => {
      const bytes = [...part];
      return [...bytes, ...new Array<number>((4 - (bytes.length % 4)) % 4).fill(0)];
    }),
  );
const row = (text: string, port: number) =>
  padded(addressToBytes(parseAddress(text)), [IPPROTO.tcp], [port >> 8, port & 0xff]);
const endpoint = (text: string, port: number) => padded(addressToBytes(parseAddress(text)), [port >> 8, port & 0xff]);
const element = (key: Uint8Array, value: Uint8Array): SetElement => ({ key: { value: key }, data: { value } });
const leadsTo = (key: Uint8Array, chain: string): SetElement => ({
  key: { value: key },
  data: { verdict: { code: VERDICT.goto >>> 0, chain } },
});
const raw = (...expressions: Expression[]): Statement => ({ text: "", expressions });
const goesTo = (chain: string) =>
  raw({ kind: "immediate", data: { dreg: NFT_REG.verdict, data: { verdict: { code: VERDICT.goto >>> 0, chain } } } });
const lookup = (set: string, dreg: number): Expression => ({
  kind: "lookup",
  data: { set, sreg: NFT_REG.r1, dreg, flags: 0 },
});

/** meta priority set ip daddr . meta l4proto . th dport map @frontends */
const sizeIntoPriority = raw(...loadRow(ROW), lookup("frontends", NFT_REG.r1), {
  kind: "meta",
  data: { key: NFT_META.packetPriority, sreg: NFT_REG.r1 },
});
/** meta priority vmap @picks */
const bySize = raw(
  { kind: "meta", data: { key: NFT_META.packetPriority, dreg: NFT_REG.r1 } },
  lookup("picks", NFT_REG.verdict),
);
/** dnat ip to ip daddr . meta l4proto . th dport . numgen random mod `modulus` map @endpoints */
const toOneOf = (modulus: number) =>
  raw(
    ...loadRow(ROW),
    { kind: "numgen", data: { dreg: NFT_REG32_00 + 3, modulus, type: NFT_NG_RANDOM, offset: 0 } },
    lookup("endpoints", NFT_REG.r1),
    {
      kind: "nat",
      data: {
        ...{ type: NFT_NAT.dnat, family: NFPROTO.ip, addressMin: NFT_REG.r1, addressMax: NFT_REG.r1 },
        ...{ portMin: NFT_REG32_00 + 1, portMax: NFT_REG32_00 + 1, flags: NF_NAT_RANGE.mapIps },
      },
    },
  );
const fromThisNode = raw(
  {
    kind: "fib",
    data: { dreg: NFT_REG.r1, result: NFT_FIB_RESULT.addrtype, flags: NFT_FIB_FLAG.saddr },
  },
  { kind: "cmp", data: { sreg: NFT_REG.r1, op: 0, data: { value: word(RTN_LOCAL) } } },
);
const reject = raw({ kind: "reject", data: { type: 2, code: 1 } });

const BASE: NftChain = {
  ...{ ...TABLE, chain: "services", hook: NF_INET_HOOK.prerouting, policy: VERDICT.accept, priority: -100 },
  ...{ type: "nat", comment: undefined, use: 0 },
};
const BASES = [
  BASE,
  { ...BASE, chain: "post", hook: NF_INET_HOOK.postrouting, priority: 100 },
  { ...BASE, chain: "check", hook: NF_INET_HOOK.forward, priority: 0, type: "filter" },
];

function ruleset(
  chains: Readonly<Record<string, readonly (readonly Statement[])[]>>,
  sets: Readonly<Record<string, readonly SetElement[]>>,
): Ruleset {
  let handle = 0n;
  const rules = Object.entries(chains).flatMap(([chain, all]) =>
    all.map((statements): NftRule => {
      handle += 1n;
      const expressions = statements.flatMap((statement) => statement.expressions);
      return { ...TABLE, chain, handle, expressions, comment: undefined };
    }),
  );
  return {
    bases: BASES,
    rulesOf: (place: ChainPlace) => rules.filter(({ chain }) => chain === place.chain),
    elementsOf: (_table, set) => sets[set],
  };
}

const CHAINS = {
  services: [
    [fromThisNode, setMark(MARK)],
    [counter, sizeIntoPriority, goesTo("pick")],
  ],
  pick: [[bySize]],
  "pick-2": [[toOneOf(2)]],
  "pick-3": [[toOneOf(3)]],
  check: [[counter, reject]],
  post: [[matchMark(MARK), masquerade({ fullyRandom: true })]],
};
const slots = (list: readonly string[]) =>
  list.map((text, at) => element(padded(row("10.96.0.10", 80), word(at)), endpoint(text, 8080)));
const SETS = {
  frontends: [element(row("10.96.0.10", 80), word(3))],
  picks: [leadsTo(word(2), "pick-2"), leadsTo(word(3), "pick-3")],
  endpoints: slots(["10.1.0.5", "10.1.0.6", "10.1.0.5"]),
};

test("shows all endpoints that a random choice may take, each with its probability", () => {
  const { translation, perhaps } = walk(ruleset(CHAINS, SETS), NF_INET_HOOK.prerouting, PACKET);
  expect(translation).toMatchObject({ action: "dnat", chain: { chain: "pick-3" } });
  expect(
    translation?.targets.map(({ address: to, port, probability }) => [to?.value, port, Math.round(probability * 300)]),
  ).toEqual([
    [parseAddress("10.1.0.5").value, 8080, 200],
    [parseAddress("10.1.0.6").value, 8080, 100],
  ]);
  expect(perhaps).toEqual([]);
});

test("chains after the translation see the endpoint", () => {
  const refuses = (text: string) => [
    raw(address("daddr", 4).load(NFT_REG.r1), {
      kind: "cmp",
      data: { sreg: NFT_REG.r1, op: 0, data: { value: addressToBytes(parseAddress(text)) } },
    }),
    drop,
  ];
  const given = (text: string) => {
    const { bases, ...rest } = ruleset({ ...CHAINS, late: [refuses(text)] }, SETS);
    return { ...rest, bases: [...bases, { ...BASE, chain: "late", type: "filter", priority: 0 }] };
  };
  const decided = (text: string) => walk(given(text), NF_INET_HOOK.prerouting, PACKET);
  expect(decided("10.96.0.10").ending).toBeUndefined();
  expect(decided("10.1.0.5").ending?.action).toBe("drop");
  const choose = (targets: readonly Choice[]) => targets.at(-1);
  const { packet, ending } = walk(given("10.1.0.5"), NF_INET_HOOK.prerouting, PACKET, { choose });
  expect(ending).toBeUndefined();
  expect(packet).toMatchObject({
    ...{ destination: parseAddress("10.1.0.6"), destinationPort: 8080 },
    original: { destination: PACKET.destination, port: 80 },
  });
});

test("a slot without an endpoint makes the translation uncertain", () => {
  const { translation, perhaps } = walk(
    ruleset(CHAINS, { ...SETS, endpoints: slots(["10.1.0.5", "10.1.0.6"]) }),
    NF_INET_HOOK.prerouting,
    PACKET,
  );
  expect(translation).toBeUndefined();
  expect(perhaps.map(({ action }) => action)).toEqual(["dnat", "dnat"]);
});

test("does not translate another port", () => {
  const other = { ...PACKET, destinationPort: 81 };
  expect(walk(ruleset(CHAINS, SETS), NF_INET_HOOK.prerouting, other).translation).toBeUndefined();
});

test("the next hook sees the mark, which is uncertain if the source's type is unknown", () => {
  const given = ruleset(CHAINS, SETS);
  const actionFor = (sourceType: number | undefined) => {
    const scratch = new Scratch();
    const packet = { ...PACKET, sourceType };
    walk(given, NF_INET_HOOK.prerouting, packet, { scratch });
    const { translation, perhaps } = walk(given, NF_INET_HOOK.postrouting, packet, { scratch });
    return [translation?.action, perhaps.map(({ action }) => action)];
  };
  expect(actionFor(RTN_LOCAL)).toEqual(["masquerade", []]);
  expect(actionFor(RTN_UNICAST)).toEqual([undefined, []]);
  expect(actionFor(undefined)).toEqual([undefined, ["masquerade"]]);
});

test("reject ends the walk", () => {
  expect(walk(ruleset(CHAINS, SETS), NF_INET_HOOK.forward, PACKET).ending).toMatchObject({ action: "reject" });
});

test("combines randomly chosen chains into one translation", () => {
  // As in kube-proxy's rules: numgen random mod 2 vmap { 0 : goto endpoint-a, 1 : goto endpoint-b }
  const to = (text: string) =>
    raw(
      { kind: "immediate", data: { dreg: NFT_REG.r1, data: { value: addressToBytes(parseAddress(text)) } } },
      { kind: "nat", data: { type: NFT_NAT.dnat, family: NFPROTO.ip, addressMin: NFT_REG.r1 } },
    );
  const lots = raw(
    { kind: "numgen", data: { dreg: NFT_REG.r1, modulus: 2, type: NFT_NG_RANDOM, offset: 0 } },
    lookup("lots", NFT_REG.verdict),
  );
  const given = ruleset(
    { services: [[lots], [drop]], a: [[to("10.1.0.5")]], b: [[to("10.1.0.6")]] },
    { lots: [leadsTo(word(0), "a"), leadsTo(word(1), "b")] },
  );
  const { ending, translation } = walk(given, NF_INET_HOOK.prerouting, PACKET);
  expect(ending).toBeUndefined();
  expect(translation?.targets.map(({ probability }) => probability)).toEqual([0.5, 0.5]);
});

test("reads no full set if single elements can be queried", () => {
  const given = ruleset(CHAINS, SETS);
  const asked: string[] = [];
  const single: Ruleset = {
    ...given,
    elementsOf: (_table, set) => {
      throw new Error(`${set} was read`);
    },
    elementOf: (_table, set, registers) => {
      asked.push(set);
      const all = SETS[set as keyof typeof SETS];
      return all.find(({ key }) => key?.value?.every((byte, at) => byte === registers[at])) ?? null;
    },
  };
  expect(walk(single, NF_INET_HOOK.prerouting, PACKET).translation?.targets).toHaveLength(2);
  expect(asked).toEqual(["frontends", "picks", "endpoints", "endpoints", "endpoints"]);
});
