/** Tests the program on an nf_tables in memory. test/policy/program-*.test.ts test random tables, and packets. */
import { describe, expect, test } from "vitest";
import { parseAddress } from "../../ip/address.ts";
import { flushSet } from "../../nft/table.ts";
import type { Decision, PolicyChange, Profile } from "../state.ts";
import { PolicyTables } from "../tables.ts";
import { BASE } from "./layout.ts";
import { NftablesPolicies } from "./nftables-policies.ts";
import { LARGEST_TRANSACTION } from "./packer.ts";
import { Kernel, SETTINGS, words } from "./policies-bench.ts";

const fromPods = (pods: number): Decision => [
  {
    name: "NetworkPolicy",
    steps: [{ peers: { pods, blocks: undefined }, verdict: "allow", policies: ["default/web"] }],
    otherwise: "deny",
  },
];
const NOBODY: Decision = [{ name: "NetworkPolicy", steps: [], otherwise: "deny" }];

const PROFILE: Profile = {
  direction: "ingress",
  isAudited: false,
  policies: ["default/web"],
  ports: [
    { protocol: 6, first: 80, last: 80, decision: fromPods(7) },
    { protocol: 6, first: 443, last: 443, decision: fromPods(7) },
  ],
  others: NOBODY,
};

const WEB = parseAddress("10.244.1.2");
const CLIENT = parseAddress("10.244.2.2");
const CHANGES: readonly PolicyChange[] = [
  { kind: "pods", number: 7, identities: new Set([1]) },
  { kind: "peer", address: CLIENT, identity: 1 },
  { kind: "profile", number: 100, profile: PROFILE },
  { kind: "subject", address: WEB, subject: { ingress: 100, egress: undefined } },
];

/** Together with `CHANGES`, these give each set of `BASE` an element. */
const OTHERS: readonly PolicyChange[] = [
  { kind: "peer", address: parseAddress("fd00:2::2"), identity: 1 },
  { kind: "profile", number: 101, profile: { ...PROFILE, direction: "egress" } },
  { kind: "subject", address: parseAddress("10.244.1.3"), subject: { ingress: undefined, egress: 101 } },
  { kind: "subject", address: parseAddress("fd00:1::2"), subject: { ingress: 100, egress: 101 } },
];

function tablesOf(changes: readonly PolicyChange[]): PolicyTables {
  const tables = new PolicyTables();
  for (const change of changes) tables.apply(change);
  return tables;
}

describe("changes", () => {
  test("a pod with other labels costs one element for each address", () => {
    const { program } = Kernel.with(tablesOf(CHANGES));
    expect(words(program.change([{ kind: "peer", address: CLIENT, identity: 2 }]))).toEqual([
      ["nft delete element inet weft-policy peers4 (1 of them)", "nft add element inet weft-policy peers4 (1 of them)"],
    ]);
  });

  test("a profile's chains come before the pods that it isolates, and port classes with equal decisions share a chain", () => {
    const { program } = Kernel.with(tablesOf([]));
    const [transaction = []] = words(program.change(CHANGES));
    expect(transaction.filter((text) => !text.startsWith("nft add rule"))).toEqual([
      "nft add set inet weft-policy pods-7 { type classid; }",
      "nft add element inet weft-policy pods-7 (1 of them)",
      "nft add element inet weft-policy peers4 (1 of them)",
      "nft add chain inet weft-policy deny-100",
      "nft add chain inet weft-policy in-100-0",
      "nft add chain inet weft-policy in-100-1",
      "nft add chain inet weft-policy in-100",
      "nft add element inet weft-policy ports (2 of them)",
      "nft add element inet weft-policy profiles (1 of them)",
      "nft add element inet weft-policy in4 (1 of them)",
      "nft add element inet weft-policy self4 (1 of them)",
    ]);
  });

  test("changes of an element that cancel each other out send nothing", () => {
    const { program } = Kernel.with(tablesOf(CHANGES));
    const other: PolicyChange = { kind: "peer", address: CLIENT, identity: undefined };
    expect(program.change([other, { ...other, identity: 5 }, { ...other, identity: 1 }])).toEqual([]);
  });

  test("known profiles and block groups are not added again, and unknown objects are not removed", () => {
    const { program } = Kernel.with(tablesOf(CHANGES));
    expect(
      program.change([
        ...CHANGES,
        { kind: "profile", number: 999, profile: undefined },
        { kind: "blocks", number: 999, group: undefined },
        { kind: "pods", number: 999, identities: undefined },
        { kind: "peer", address: WEB, identity: undefined },
      ]),
    ).toEqual([]);
  });

  test("thousands of peers are several transactions, and each applies alone", () => {
    const { kernel, program } = Kernel.with(tablesOf(CHANGES));
    const state = tablesOf(CHANGES);
    const many = Array.from(
      { length: 3 * LARGEST_TRANSACTION },
      (_, at): PolicyChange => ({
        kind: "peer",
        address: { family: 4, value: 0x0a00_0000n + BigInt(at) },
        identity: 9,
      }),
    );
    const transactions = program.change(many);
    expect(transactions).toHaveLength(3);
    kernel.carryOut(transactions);
    for (const change of many) state.apply(change);
    expect(kernel.compare(new NftablesPolicies(), state)).toEqual([]);
  });

  test("a profile is removed with all its chains and its map", () => {
    const { kernel, program } = Kernel.with(tablesOf([]));
    const before = kernel.nftables.list();
    kernel.carryOut(program.change(CHANGES));
    kernel.carryOut(
      program.change([
        { kind: "subject", address: WEB, subject: undefined },
        { kind: "profile", number: 100, profile: undefined },
        { kind: "pods", number: 7, identities: undefined },
        { kind: "peer", address: CLIENT, identity: undefined },
      ]),
    );
    expect(kernel.nftables.list()).toEqual(before);
  });
});

describe("comparisons", () => {
  test("a restart finds everything, and writes nothing", () => {
    const { kernel } = Kernel.with(tablesOf(CHANGES));
    expect(kernel.compare(new NftablesPolicies(), tablesOf(CHANGES))).toEqual([]);
  });

  test.each(BASE.sets.map(({ name }) => name))("missing elements of %s are restored, and no others change", (name) => {
    const both = [...CHANGES, ...OTHERS];
    const { kernel } = Kernel.with(tablesOf(both));
    const before = kernel.nftables.list();
    kernel.nftables.do(flushSet(BASE, name));
    const transactions = kernel.compare(new NftablesPolicies(), tablesOf(both));
    expect(words(transactions)).toEqual([[expect.stringMatching(` element inet weft-policy ${name} `)]]);
    kernel.carryOut(transactions);
    expect(kernel.nftables.list()).toEqual(before);
  });

  test("audit mode and logs change only the rules of deny chains, in one transaction", () => {
    const { kernel } = Kernel.with(tablesOf(CHANGES));
    for (const settings of [
      { isAudit: true, hasLog: true },
      { isAudit: true, hasLog: false },
    ]) {
      const [transaction = [], ...rest] = words(kernel.compare(new NftablesPolicies(), tablesOf(CHANGES), settings));
      expect(rest).toEqual([]);
      for (const text of transaction) expect(text).toMatch(/^nft (flush chain|add rule) inet weft-policy deny-100/);
      expect(transaction.some((text) => text.includes("log prefix"))).toBe(settings.hasLog);
      expect(transaction.some((text) => text.includes("drop"))).toBe(false);
      kernel.carryOut(kernel.compare(new NftablesPolicies(), tablesOf(CHANGES), settings));
      expect(kernel.compare(new NftablesPolicies(), tablesOf(CHANGES), settings)).toEqual([]);
    }
  });

  test("removal removes everything, and succeeds without a table", () => {
    const { kernel, program } = Kernel.with(tablesOf(CHANGES));
    kernel.carryOut([program.removal()]);
    expect(kernel.nftables.list()).toEqual([]);
    kernel.carryOut([program.removal()]);
    kernel.carryOut(kernel.compare(program, tablesOf(CHANGES)));
    expect(kernel.compare(program, tablesOf(CHANGES), SETTINGS)).toEqual([]);
  });

  test("the counters of a profile are by step", () => {
    const { kernel, program } = Kernel.with(tablesOf(CHANGES));
    expect(kernel.counts(program)).toEqual([
      { number: 100, denied: 0, steps: [{ policies: ["default/web"], verdict: "allow", packets: 0 }] },
    ]);
  });
});
