/** The mode on an nf_tables in memory. What the kernel does with packets is test/live/services-nftables.live.test.ts. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseAddress } from "../../ip/address.ts";
import { parsePrefix } from "../../ip/prefix.ts";
import { BlockingNetlink } from "../../netlink/blocking.ts";
import { answered } from "../../netlink/look.ts";
import { readRuleset } from "../../netlink/ruleset.ts";
import { elementDumps } from "../../nft/comparison.ts";
import { eachElement } from "../../nft/element-bytes.ts";
import { FakeNftables } from "../../nft/fake-nftables.ts";
import { addElements, flushSet, replaceRules } from "../../nft/table.ts";
import type { Endpoint, Frontend, FrontendChange, NodeSettings } from "../frontend.ts";
import type { Transaction } from "../mode.ts";
import { addressBytes, rowBytes } from "./bytes.ts";
import { servicesTable } from "./layout.ts";
import { NftablesMode } from "./nftables-mode.ts";
import { FRONTEND_SETS } from "./sets.ts";
import { LARGEST_TRANSACTION } from "./transactions.ts";

const SETTINGS: NodeSettings = {
  localPods: [parsePrefix("10.244.1.0/24"), parsePrefix("fd00:1::/64")],
  serviceRanges: [parsePrefix("10.96.0.0/16")],
  masqueradeAll: false,
  masqueradeBit: 14,
};

const endpoint = (address: string, isLocal = false): Endpoint => ({
  address: parseAddress(address),
  port: 8080,
  isLocal,
});
const endpoints = (count: number, from = 0) =>
  Array.from({ length: count }, (_, at) => endpoint(`10.244.${(from + at) >> 8}.${(from + at) & 255}`));

function frontend(more: Partial<Frontend> = {}): Frontend {
  return {
    ...{ kind: "ClusterIP", address: parseAddress("10.96.0.1"), protocol: 6, port: 80, service: "default/web" },
    ...{ portName: "", policy: "internal", endpoints: [], localEndpoints: [], withoutEndpoint: undefined },
    ...{ allowedSources: undefined, affinity: undefined },
    ...more,
  };
}

class Kernel {
  readonly nftables = new FakeNftables();
  readonly #answers: Uint8Array[] = [];
  readonly netlink = new BlockingNetlink(
    {
      send: (datagram) => this.#answers.push(...this.nftables.answer(datagram, 1)),
      receive: () => this.#answers.shift() ?? new Uint8Array(),
      close: () => undefined,
    },
    "the fake",
  );

  compare(mode: NftablesMode, frontends: Iterable<Frontend>, settings = SETTINGS): readonly Transaction[] {
    return answered(mode.compare(frontends, settings), (questions) => readRuleset(this.netlink, questions));
  }

  carryOut(transactions: readonly Transaction[], each: () => void = () => undefined): void {
    for (const transaction of transactions) {
      this.netlink.commit(transaction);
      each();
    }
  }

  /** Programmed from scratch. */
  static with(frontends: readonly Frontend[]): { kernel: Kernel; mode: NftablesMode } {
    const [kernel, mode] = [new Kernel(), new NftablesMode()];
    kernel.carryOut(kernel.compare(mode, frontends));
    return { kernel, mode };
  }

  /** By set, of all that frontends make: keys with data, in hexadecimal. */
  elements(): ReadonlyMap<string, ReadonlyMap<string, string>> {
    const table = { ...servicesTable(SETTINGS, []), sets: FRONTEND_SETS };
    const sets = new Map<string, Map<string, string>>(FRONTEND_SETS.map(({ name }) => [name, new Map()]));
    eachElement(table, readRuleset(this.netlink, elementDumps(table)), (set, key, data) => {
      sets.get(set)?.set(hex(key), hex(data));
    });
    return sets;
  }

  /**
   * Each frontend leads to endpoints that are there, as many as it says. Other ports of an address that has frontends are
   * refused only while those stand.
   */
  assertWhole(wanted: readonly Frontend[] = []): void {
    const sets = this.elements();
    for (const { kind, address, protocol, port } of wanted) {
      if (kind !== "ClusterIP" || !sets.get(`cluster-ips${address.family}`)?.has(hex(addressBytes(address)))) continue;
      expect(sets.get(`connections${address.family}`)?.has(hex(rowBytes({ address, protocol, port })))).toBe(true);
    }
    for (const list of ["", "local-"]) {
      for (const family of [4, 6]) {
        for (const [row, size] of sets.get(`${list}frontends${family}`) ?? []) {
          for (let slot = 0; slot < Buffer.from(size, "hex").readUInt32LE(); slot++) {
            const number = Buffer.alloc(4);
            number.writeUInt32LE(slot);
            expect(sets.get(`${list}endpoints${family}`)?.has(row + number.toString("hex"))).toBe(true);
          }
        }
      }
    }
  }
}

const hex = (bytes: string) => Buffer.from(bytes, "latin1").toString("hex");
const turn = (before: Frontend | undefined, after: Frontend | undefined): FrontendChange => ({ before, after });
const words = (transactions: readonly Transaction[]) =>
  transactions.map((requests) => requests.map(({ text }) => text));

describe("changes", () => {
  test("an endpoint that goes leaves its slot to the last one, in one transaction of a few elements", () => {
    const before = frontend({ endpoints: endpoints(5) });
    const { kernel, mode } = Kernel.with([before, frontend({ port: 81, endpoints: endpoints(4) })]);
    const after = { ...before, endpoints: before.endpoints.filter((_, at) => at !== 1) };
    const transactions = mode.change([turn(before, after)]);
    expect(words(transactions)).toEqual([
      [
        "nft delete element inet weft-services frontends4 (1 of them)",
        "nft delete element inet weft-services endpoints4 (2 of them)",
        "nft add element inet weft-services frontends4 (1 of them)",
        "nft add element inet weft-services endpoints4 (1 of them)",
      ],
    ]);
    kernel.carryOut(transactions);
    kernel.assertWhole();
  });

  test("an endpoint that is replaced costs two elements", () => {
    const before = frontend({ endpoints: endpoints(3) });
    const { mode } = Kernel.with([before]);
    expect(words(mode.change([turn(before, { ...before, endpoints: endpoints(3, 1) })]))).toEqual([
      [
        "nft delete element inet weft-services endpoints4 (1 of them)",
        "nft add element inet weft-services endpoints4 (1 of them)",
      ],
    ]);
  });

  test("the first frontend with so many endpoints brings the chain that chooses among them", () => {
    const before = frontend({ endpoints: endpoints(1) });
    const { kernel, mode } = Kernel.with([before]);
    const three = { ...before, endpoints: endpoints(3) };
    expect(words(mode.change([turn(before, three)])).flat()).toContain("nft add chain inet weft-services pick4-3");
    expect(words(mode.change([turn(three, before), turn(undefined, { ...three, port: 81 })])).flat()).not.toContain(
      "nft add chain inet weft-services pick4-3",
    );
    expect(kernel.compare(new NftablesMode(), [before])).toEqual([]);
  });

  test("what did not change is not sent, and a frontend that changes twice is sent once", () => {
    const before = frontend({ endpoints: endpoints(2) });
    const { kernel, mode } = Kernel.with([before]);
    expect(mode.change([turn(before, { ...before, service: "default/other" })])).toEqual([]);
    const after = { ...before, withoutEndpoint: "reject" as const, endpoints: [] };
    kernel.carryOut(mode.change([turn(before, after), turn(after, undefined), turn(undefined, before)]));
    expect(kernel.compare(new NftablesMode(), [before])).toEqual([]);
  });

  test("an address or an endpoint that frontends share goes with the last of them", () => {
    const one = frontend({ endpoints: [endpoint("10.244.1.5", true)] });
    const other = { ...one, port: 81 };
    const { kernel, mode } = Kernel.with([one, other]);
    const shared = () => ["cluster-ips4", "hairpin4"].map((name) => kernel.elements().get(name)?.size);
    kernel.carryOut(mode.change([turn(one, undefined)]));
    expect(shared()).toEqual([1, 1]);
    kernel.carryOut(mode.change([turn(other, undefined), turn(undefined, one)]));
    expect(shared()).toEqual([1, 1]);
    kernel.carryOut(mode.change([turn(one, undefined)]));
    expect(shared()).toEqual([0, 0]);
  });

  test("large changes are bounded, and frontends have endpoints after each transaction", () => {
    const small = frontend({ endpoints: endpoints(2) });
    const large = { ...small, endpoints: endpoints(5000) };
    const { kernel, mode } = Kernel.with([small]);
    for (const [before, after] of [
      [small, large],
      [large, { ...large, endpoints: endpoints(4000, 500) }],
      [{ ...large, endpoints: endpoints(4000, 500) }, small],
      [small, undefined],
    ] as const) {
      const transactions = mode.change([turn(before, after)]);
      expect(transactions.length).toBeGreaterThan(after === undefined ? 0 : 1);
      for (const requests of transactions) {
        const counts = requests.map(({ text }) => Number(/\((\d+) of them\)/.exec(text)?.[1] ?? 0));
        expect(counts.reduce((sum, count) => sum + count, 0)).toBeLessThanOrEqual(LARGEST_TRANSACTION);
      }
      kernel.carryOut(transactions, () => kernel.assertWhole());
      expect(kernel.compare(new NftablesMode(), after === undefined ? [] : [after])).toEqual([]);
    }
  });

  test("ranges of sources that overlap are one, and change at once", () => {
    const ranges = (...texts: string[]) => texts.map(parsePrefix);
    const before = frontend({ kind: "LoadBalancerIP", policy: "cluster", allowedSources: ranges("10.0.0.0/8") });
    const { kernel, mode } = Kernel.with([before]);
    const after = { ...before, allowedSources: ranges("10.1.0.0/16", "10.1.2.0/24", "10.2.0.0/16", "fd00::/8") };
    const transactions = mode.change([turn(before, after)]);
    expect(transactions).toHaveLength(1);
    kernel.carryOut(transactions);
    expect([...(kernel.elements().get("allowed-sources4")?.keys() ?? [])]).toEqual([
      "0a600001060000000050" + "00000a010000" + "0a600001060000000050" + "00000a02ffff",
    ]);
    kernel.carryOut(mode.change([turn(after, { ...before, allowedSources: undefined })]));
    expect(kernel.elements().get("firewalled4")?.size).toBe(0);
  });
});

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

  test("a restart adopts all, the order of endpoints too, and writes nothing", () => {
    const { kernel, mode } = Kernel.with(all);
    const [first = frontend()] = all;
    const after = { ...first, endpoints: first.endpoints.slice(1) };
    kernel.carryOut(mode.change([turn(first, after)]));
    expect(kernel.compare(new NftablesMode(), [after, ...all.slice(1)])).toEqual([]);
  });

  test.each(FRONTEND_SETS.map(({ name }) => name))(
    "elements of %s that are missing come back, and no others move",
    (name) => {
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
    },
  );

  test("while many frontends are programmed, connections to those that do not stand yet are not refused", () => {
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

  test("elements of frontends that are gone go, gates first", () => {
    const { kernel } = Kernel.with(all);
    const texts = words(kernel.compare(new NftablesMode(), all.slice(1))).flat();
    expect(texts.every((text) => text.startsWith("nft delete element"))).toBe(true);
    kernel.carryOut(kernel.compare(new NftablesMode(), all.slice(1)), () => kernel.assertWhole());
    expect(kernel.compare(new NftablesMode(), all.slice(1))).toEqual([]);
  });

  test("rules that were changed are written anew, and elements stay", () => {
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

  test("settings change in one transaction, and keep all elements", () => {
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

  test("what rules have remembered of clients is neither compared nor repaired", () => {
    const { kernel } = Kernel.with(all);
    const table = servicesTable(SETTINGS, []);
    const affinity = table.sets.find(({ name }) => name === "affinity4");
    if (affinity?.kind !== "tuples") throw new Error("no such map");
    const element = { values: [parseAddress("10.244.1.9"), 7], data: [9] };
    kernel.nftables.do(...addElements(table, { ...affinity, elements: [element] }));
    expect(kernel.compare(new NftablesMode(), all)).toEqual([]);
  });

  test("removal leaves nothing, and is no error where nothing is", () => {
    const { kernel, mode } = Kernel.with(all);
    kernel.netlink.commit(mode.removal());
    expect(kernel.nftables.list()).toEqual([]);
    kernel.netlink.commit(mode.removal());
  });
});

describe("random frontends", () => {
  const address = fc.constantFrom("10.96.0.1", "10.96.0.2", "fd00::1").map(parseAddress);
  const list = (family: 4 | 6) =>
    fc
      .uniqueArray(fc.nat({ max: 6 }), { maxLength: 5 })
      .map((numbers) =>
        numbers.sort().map((at) => endpoint(family === 4 ? `10.244.0.${at}` : `fd00:1::${at}`, at % 2 === 1)),
      );
  const ranges = fc.subarray(["10.0.0.0/8", "10.1.0.0/16", "10.1.3.0/24", "192.0.2.1/32", "fd00::/8"]);
  const arbitrary: fc.Arbitrary<Frontend> = address.chain((single) =>
    fc.record({
      ...{
        address: fc.constant(single),
        kind: fc.constantFrom("ClusterIP", "NodePort"),
        protocol: fc.constantFrom(6, 17),
      },
      ...{ port: fc.constantFrom(80, 81), service: fc.constant("default/web"), portName: fc.constant("") },
      ...{ policy: fc.constantFrom("internal", "cluster", "local"), endpoints: list(single.family) },
      ...{ localEndpoints: list(single.family), withoutEndpoint: fc.constantFrom(undefined, "reject", "drop") },
      allowedSources: fc.option(
        ranges.map((texts) => texts.map(parsePrefix)),
        { nil: undefined },
      ),
      affinity: fc.option(fc.record({ seconds: fc.constantFrom(10, 100), key: fc.constantFrom("a", "b") }), {
        nil: undefined,
      }),
    }),
  );

  test("changes lead where a comparison would, and each transaction leaves whole frontends", () => {
    fc.assert(
      fc.property(
        fc.array(fc.array(fc.tuple(arbitrary, fc.boolean()), { maxLength: 4 }), { maxLength: 6 }),
        (steps) => {
          const { kernel, mode } = Kernel.with([]);
          const held = new Map<string, Frontend>();
          for (const step of steps) {
            const changes = step.flatMap(([after, stays]) => {
              const key = `${after.address.value} ${after.protocol} ${after.port}`;
              const before = held.get(key);
              if (stays) held.set(key, after);
              else held.delete(key);
              return before === undefined && !stays ? [] : [turn(before, stays ? after : undefined)];
            });
            kernel.carryOut(mode.change(changes), () => kernel.assertWhole());
            expect(words(kernel.compare(new NftablesMode(), held.values()))).toEqual([]);
          }
        },
      ),
      { numRuns: 30 },
    );
  });

  test("a comparison leads from any frontends to any others", () => {
    fc.assert(
      fc.property(fc.array(arbitrary, { maxLength: 6 }), fc.array(arbitrary, { maxLength: 6 }), (first, second) => {
        const single = (all: readonly Frontend[]) => [
          ...new Map(all.map((one) => [`${one.address.value} ${one.protocol} ${one.port}`, one])).values(),
        ];
        const { kernel } = Kernel.with(single(first));
        kernel.carryOut(kernel.compare(new NftablesMode(), single(second)), () => kernel.assertWhole());
        expect(words(kernel.compare(new NftablesMode(), single(second)))).toEqual([]);
      }),
      { numRuns: 30 },
    );
  });
});
