/**
 * Every function that builds a request about nftables names its object. The name is equal for all changes of one object
 * and different for other objects.
 */
import fc from "fast-check";
import { expect, test } from "vitest";
import { type Address, formatAddress } from "../ip/address.ts";
import { identityText, type Request } from "../netlink/message.ts";
import {
  NFPROTO,
  NFT_MSG_NEWCHAIN,
  NFT_MSG_NEWRULE,
  NFT_MSG_NEWSET,
  NFT_MSG_NEWSETELEM,
  NFT_MSG_NEWTABLE,
} from "../netlink/nftables.ts";
import { accept, counter, matchAddress } from "../nft/expressions.ts";
import * as ruleset from "../nft/ruleset.ts";
import { wireElements } from "../nft/set.ts";
import { addElements, createTable, deleteFromSet, deleteTable, replaceTable, type Table } from "../nft/table.ts";
import { dumpOf } from "../nft/table-dump.ts";
import { addForward } from "./cni-forward.ts";
import { addRule } from "./forward-chains.ts";

const names = fc.record({
  family: fc.constantFrom("ip" as const, "inet" as const),
  table: fc.constantFrom("weft", "filter"),
  chain: fc.constantFrom("forward", "FORWARD"),
  set: fc.constantFrom("pods", "nodes"),
  comment: fc.constantFrom("a", "b"),
  addresses: fc.uniqueArray(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 3 }),
});
type Names = typeof names extends fc.Arbitrary<infer N> ? N : never;

const address = (low: number): Address => ({ family: 4, value: 0x0a000000n + BigInt(low) });
const statements = ({ addresses: [low = 0] }: Names) => [matchAddress("saddr", address(low)), counter, accept];

function tableOf(of: Names, note = ""): Table {
  const elements = of.addresses.map((low) => ({ address: address(low), comment: `element${note}` }));
  return {
    ...{ family: of.family, name: of.table, comment: `table${note}` },
    sets: [{ kind: "addresses", family: 4, name: of.set, comment: `set${note}`, elements }],
    chains: [{ name: of.chain, rules: [{ statements: statements(of), comment: of.comment }] }],
  };
}

const one = (requests: readonly Request[], { type }: { readonly type: number }) => {
  const found = requests.find((item) => item.type === type);
  if (found === undefined) throw new Error(`no request of type ${type}`);
  return found;
};

/** A rule as it is read back, with the kernel's handle and counters. */
function readBack(of: Names) {
  const [rule] = ruleset.readRules(dumpOf(tableOf(of)));
  if (rule === undefined) throw new Error("no rule");
  const counted = rule.expressions.map((expression) =>
    expression.kind === "counter" ? { ...expression, data: { bytes: 84n, packets: 1n } } : expression,
  );
  return { ...place(of), comment: rule.comment, handle: 7n, expressions: counted };
}

const place = ({ family, table, chain }: Names) => ({ family: NFPROTO[family], table, chain });

interface Row {
  readonly same: (of: Names) => unknown;
  readonly changes: (of: Names) => readonly Request[];
}

const ROWS: Readonly<Record<string, Row>> = {
  table: {
    same: ({ family, table }) => [family, table],
    changes: (of) => [
      one(replaceTable(tableOf(of)), NFT_MSG_NEWTABLE),
      one(createTable(tableOf(of, "!")), NFT_MSG_NEWTABLE),
      one(addForward(place(of), []), NFT_MSG_NEWTABLE),
      deleteTable(tableOf(of)),
      deleteTable(tableOf(of), 4n),
      ruleset.deleteTable(place(of)),
    ],
  },
  chain: {
    same: ({ family, table, chain }) => [family, table, chain],
    changes: (of) => [
      one(replaceTable(tableOf(of)), NFT_MSG_NEWCHAIN),
      one(addForward(place(of), []), NFT_MSG_NEWCHAIN),
      ruleset.deleteChain(place(of)),
    ],
  },
  set: {
    same: ({ family, table, set }) => [family, table, set],
    changes: (of) => [
      one(replaceTable(tableOf(of)), NFT_MSG_NEWSET),
      one(replaceTable(tableOf(of, "!")), NFT_MSG_NEWSET),
    ],
  },
  elements: {
    same: ({ family, table, set, addresses }) => [family, table, set, [...addresses].sort()],
    changes: (of) => {
      const table = tableOf(of);
      const [set] = table.sets;
      if (set === undefined) throw new Error("no set");
      return [
        one(replaceTable(table), NFT_MSG_NEWSETELEM),
        ...tableOf(of, "!").sets.flatMap((noted) => addElements(table, noted, { exclusive: false })),
        ...deleteFromSet(table, set.name, [...wireElements(set)].reverse()),
      ];
    },
  },
  rule: {
    same: ({ family, table, chain, comment, addresses: [low = 0] }) => [family, table, chain, comment, low],
    changes: (of) => [
      one(replaceTable(tableOf(of)), NFT_MSG_NEWRULE),
      addRule({ place: place(of), statements: statements(of), comment: of.comment, first: true }),
      addRule({ place: place(of), statements: statements(of), comment: of.comment, first: false, isEchoed: true }),
      ruleset.deleteRule(readBack(of)),
    ],
  },
};

test.each(Object.entries(ROWS))(
  "a %s has one identity in all requests, which no other object has",
  (_kind, { same, changes }) =>
    fc.assert(
      fc.property(names, names, (a, b) => {
        const ids = new Set(changes(a).map(({ object }) => identityText(object)));
        expect([...ids]).toHaveLength(1);
        const isSame = JSON.stringify(same(a)) === JSON.stringify(same(b));
        const [other] = changes(b).map(({ object }) => identityText(object));
        expect(ids.has(other ?? "")).toBe(isSame);
      }),
    ),
);

test("a rule with iptables' own kind of comment has the same identity", () => {
  const of: Names = {
    ...{ family: "ip", table: "filter", chain: "FORWARD", set: "pods", comment: "a", addresses: [1] },
  };
  const rule = readBack(of);
  const match = { kind: "match", data: { name: "comment", revision: 0, info: new Uint8Array(256) } } as const;
  const saved = ruleset.deleteRule({ ...rule, expressions: [match, ...rule.expressions] });
  expect(saved.object).toEqual(ruleset.deleteRule(rule).object);
  expect(saved.text).toBe("nft delete rule ip filter FORWARD handle 7");
  expect(formatAddress(address(1))).toBe("10.0.0.1");
});
