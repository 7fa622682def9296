/** Tests the mode with an nf_tables in memory. test/live/services-nftables.live.test.ts tests packets. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { runs } from "../../../test/fuzz/samples.ts";
import { parseAddress } from "../../ip/address.ts";
import { parsePrefix } from "../../ip/prefix.ts";
import type { Frontend } from "../frontend.ts";
import { NftablesMode } from "./nftables-mode.ts";
import { endpoint, endpoints, frontend, Kernel, turn, words } from "./nftables-mode-bench.ts";
import { LARGEST_TRANSACTION } from "./transactions.ts";

describe("changes", () => {
  test("moves the last endpoint to the slot of a removed one, in one transaction with a few elements", () => {
    const before = frontend({ endpoints: endpoints(5) });
    const { kernel, mode } = Kernel.with([before, frontend({ port: 81, endpoints: endpoints(4) })]);
    const after = { ...before, endpoints: before.endpoints.filter((_, at) => at !== 1) };
    const transactions = mode.change([turn(before, after)]);
    expect(words(transactions)).toEqual([
      [
        "nft delete element inet weft-services internal-frontends4 (1 of them)",
        "nft delete element inet weft-services endpoints4 (2 of them)",
        "nft add element inet weft-services internal-frontends4 (1 of them)",
        "nft add element inet weft-services endpoints4 (1 of them)",
      ],
    ]);
    kernel.carryOut(transactions);
    kernel.assertWhole();
  });

  test("replaces an endpoint with two element changes", () => {
    const before = frontend({ endpoints: endpoints(3) });
    const { mode } = Kernel.with([before]);
    expect(words(mode.change([turn(before, { ...before, endpoints: endpoints(3, 1) })]))).toEqual([
      [
        "nft delete element inet weft-services endpoints4 (1 of them)",
        "nft add element inet weft-services endpoints4 (1 of them)",
      ],
    ]);
  });

  test("the first frontend with a new number of endpoints adds the chain for it", () => {
    const before = frontend({ endpoints: endpoints(1) });
    const { kernel, mode } = Kernel.with([before]);
    const three = { ...before, endpoints: endpoints(3) };
    expect(words(mode.change([turn(before, three)])).flat()).toContain("nft add chain inet weft-services pick4-3");
    expect(words(mode.change([turn(three, before), turn(undefined, { ...three, port: 81 })])).flat()).not.toContain(
      "nft add chain inet weft-services pick4-3",
    );
    expect(kernel.compare(new NftablesMode(), [before])).toEqual([]);
  });

  test("sends nothing for unchanged frontends, and one change for a frontend that changes twice", () => {
    const before = frontend({ endpoints: endpoints(2) });
    const { kernel, mode } = Kernel.with([before]);
    expect(mode.change([turn(before, { ...before, service: "default/other" })])).toEqual([]);
    const after = { ...before, withoutEndpoint: "reject" as const, endpoints: [] };
    kernel.carryOut(mode.change([turn(before, after), turn(after, undefined), turn(undefined, before)]));
    expect(kernel.compare(new NftablesMode(), [before])).toEqual([]);
  });

  test("removes a shared address or endpoint with the last frontend that uses it", () => {
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

  test("splits large changes, and frontends have endpoints after each transaction", () => {
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

  test("merges overlapping source ranges, and changes them in one transaction", () => {
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

  test("changes lead to the same state as a comparison, and frontends are complete after each transaction", () => {
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
      { numRuns: runs(8, 300) },
    );
  });

  test("a comparison changes any frontends to any others", () => {
    fc.assert(
      fc.property(fc.array(arbitrary, { maxLength: 6 }), fc.array(arbitrary, { maxLength: 6 }), (first, second) => {
        const single = (all: readonly Frontend[]) => [
          ...new Map(all.map((one) => [`${one.address.value} ${one.protocol} ${one.port}`, one])).values(),
        ];
        const { kernel } = Kernel.with(single(first));
        kernel.carryOut(kernel.compare(new NftablesMode(), single(second)), () => kernel.assertWhole());
        expect(words(kernel.compare(new NftablesMode(), single(second)))).toEqual([]);
      }),
      { numRuns: runs(8, 300) },
    );
  });
});
