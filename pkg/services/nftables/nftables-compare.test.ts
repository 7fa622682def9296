/** Tests comparisons between the mode and an nf_tables in memory. */
import { describe, expect, test } from "vitest";
import { parseAddress } from "../../ip/address.ts";
import { parsePrefix } from "../../ip/prefix.ts";
import { drop } from "../../nft/expressions.ts";
import { addElements, flushSet, rebuildTable, replaceRules, type Table } from "../../nft/table.ts";
import { servicesTable } from "./layout.ts";
import { NftablesMode } from "./nftables-mode.ts";
import { endpoint, endpoints, frontend, Kernel, SETTINGS, turn, words } from "./nftables-mode-bench.ts";
import { FRONTEND_SETS, verdictSets } from "./sets.ts";
import { LARGEST_TRANSACTION } from "./transactions.ts";

describe("comparison", () => {
  const all = [
    frontend({ endpoints: endpoints(3), affinity: { seconds: 100, key: "default/web:/6" } }),
    frontend({
      kind: "NodePort",
      policy: "local",
      address: parseAddress("192.0.2.1"),
      withoutEndpoint: "drop",
      endpoints: endpoints(2),
    }),
    frontend({ address: parseAddress("fd00::1"), endpoints: [endpoint("fd00:1::2", true)] }),
  ];

  test("a restart adopts everything, including the order of endpoints, and writes nothing", () => {
    const { kernel, mode } = Kernel.with(all);
    const [first = frontend()] = all;
    const after = { ...first, endpoints: first.endpoints.slice(1) };
    kernel.carryOut(mode.change([turn(first, after)]));
    expect(kernel.compare(new NftablesMode(), [after, ...all.slice(1)])).toEqual([]);
  });

  test.each(FRONTEND_SETS.map(({ name }) => name))("repairs missing elements of %s, and changes no others", (name) => {
    const { kernel } = Kernel.with(all);
    const table = servicesTable(SETTINGS, []);
    const before = kernel.elements();
    kernel.nftables.do(flushSet(table, name));
    const transactions = kernel.compare(new NftablesMode(), all);
    expect(
      words(transactions)
        .flat()
        .every((text) => text.includes(`element inet weft-services ${name} `)),
    ).toBe(true);
    kernel.carryOut(transactions);
    expect(kernel.elements()).toEqual(before);
  });

  test("does not refuse connections to frontends that are not programmed yet", () => {
    const many = endpoints(LARGEST_TRANSACTION).map(({ address: { value } }) =>
      frontend({ address: { family: 4, value: value + 0xac00_0000n - 0x0a00_0000n }, endpoints: endpoints(2) }),
    );
    const [kernel, mode] = [new Kernel(), new NftablesMode()];
    kernel.carryOut(kernel.compare(mode, many), () => kernel.assertWhole(many));
    kernel.carryOut(mode.change(many.map((each) => turn(each, undefined))));
    const transactions = mode.change(many.map((each) => turn(undefined, each)));
    expect(transactions.length).toBeGreaterThan(2);
    kernel.carryOut(transactions, () => kernel.assertWhole(many));
  });

  test("removes the elements of removed frontends, gates first", () => {
    const { kernel } = Kernel.with(all);
    const texts = words(kernel.compare(new NftablesMode(), all.slice(1))).flat();
    expect(texts.every((text) => text.startsWith("nft delete element"))).toBe(true);
    kernel.carryOut(kernel.compare(new NftablesMode(), all.slice(1)), () => kernel.assertWhole());
    expect(kernel.compare(new NftablesMode(), all.slice(1))).toEqual([]);
  });

  test("rewrites changed rules and keeps elements", () => {
    const { kernel } = Kernel.with(all);
    const table = servicesTable(SETTINGS, []);
    kernel.nftables.do(...replaceRules({ ...table, chains: [] }, new Set()));
    const transactions = kernel.compare(new NftablesMode(), all);
    expect(
      words(transactions)
        .flat()
        .some((text) => text.includes("element")),
    ).toBe(false);
    kernel.carryOut(transactions);
    expect(kernel.compare(new NftablesMode(), all)).toEqual([]);
  });

  test("updates a table of an earlier version in one transaction, and keeps everything that is as wanted", () => {
    const { kernel } = Kernel.with(all);
    const before = kernel.elements();
    const pick = (family: 4 | 6, number: number) => ({ kind: "pick", list: "", family, number }) as const;
    const remember = { kind: "remember", list: "", family: 4, number: 100 } as const;
    const parts = [pick(4, 2), pick(4, 3), pick(6, 1), remember];
    const table = servicesTable(SETTINGS, parts);
    const old: Table = {
      ...table,
      sets: [
        ...table.sets.filter(({ name }) => name !== "dropped4"),
        { kind: "tuples", name: "old", comment: "", fields: ["classid"], elements: [] },
      ],
      chains: [
        ...table.chains
          .filter(({ name }) => !name.startsWith("unanswered"))
          .map((chain) => (chain.name === "filter-input" ? { ...chain, priority: -10 } : chain))
          .map((chain) => (/^no-(?:endpoint|frontend)/.test(chain.name) ? { ...chain, rules: [] } : chain)),
        { name: "old", rules: [{ statements: [drop], comment: "old" }] },
      ],
    };
    const names = (list: readonly { readonly name: string }[]) => list.map(({ name }) => name);
    const goneChains = ["filter-input", "unanswered4", "unanswered6"];
    kernel.nftables.do(
      ...rebuildTable(old, {
        chains: new Set(names(table.chains).filter((name) => !goneChains.includes(name))),
        sets: new Set(names(table.sets)),
        ...{ goneChains, goneSets: ["dropped4"] },
      }),
      ...verdictSets(parts).flatMap((set) => addElements(old, set)),
    );
    const transactions = kernel.compare(new NftablesMode(), all);
    expect(transactions).toHaveLength(1);
    expect(words(transactions)[0]?.filter((text) => /^nft add element .*(endpoints|frontends)/.test(text))).toEqual([]);
    kernel.carryOut(transactions);
    expect(kernel.elements()).toEqual(before);
    expect(kernel.compare(new NftablesMode(), all)).toEqual([]);
  });

  test("changes settings in one transaction, and keeps all elements", () => {
    const { kernel } = Kernel.with(all);
    for (const settings of [
      { ...SETTINGS, localPods: [parsePrefix("10.1.0.0/16")], serviceRanges: [] },
      { ...SETTINGS, masqueradeAll: true, masqueradeBit: 3 },
    ]) {
      const transactions = kernel.compare(new NftablesMode(), all, settings);
      expect(transactions).toHaveLength(1);
      expect(
        words(transactions)
          .flat()
          .some((text) => text.includes("endpoints4 (")),
      ).toBe(false);
      kernel.carryOut(transactions);
      expect(kernel.compare(new NftablesMode(), all, settings)).toEqual([]);
    }
  });

  test("neither compares nor repairs affinity entries", () => {
    const { kernel } = Kernel.with(all);
    const table = servicesTable(SETTINGS, []);
    const affinity = table.sets.find(({ name }) => name === "affinity4");
    if (affinity?.kind !== "tuples") throw new Error("no such map");
    const element = { values: [parseAddress("10.244.1.9"), 7], data: [9] };
    kernel.nftables.do(...addElements(table, { ...affinity, elements: [element] }));
    expect(kernel.compare(new NftablesMode(), all)).toEqual([]);
  });

  test("removal removes everything, and succeeds if the table does not exist", () => {
    const { kernel, mode } = Kernel.with(all);
    kernel.netlink.commit(mode.removal());
    expect(kernel.nftables.list()).toEqual([]);
    kernel.netlink.commit(mode.removal());
  });
});
