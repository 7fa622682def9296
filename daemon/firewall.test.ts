import { expect, test } from "vitest";
import { ManualClock } from "../pkg/cluster/manual-clock.ts";
import { parseSubnet } from "../pkg/ip/prefix.ts";
import { nodeMasquerade } from "../pkg/kernel/masquerade.ts";
import type { Table } from "../pkg/kernel/nft/table.ts";
import { Firewall } from "./firewall.ts";

const tableOf = (range: string) => nodeMasquerade({ podRanges: [parseSubnet(range)], exempt: [] });

function bench() {
  const clock = new ManualClock();
  const kernel = { held: undefined as Table | undefined, lookMs: 3, overlaps: 0 };
  const asked: string[] = [];
  let isBusy = false;
  const firewall = new Firewall({
    clock,
    programmer: {
      async replaceTable(table, isAllowed = () => true) {
        if (isBusy) kernel.overlaps += 1;
        isBusy = true;
        await Promise.resolve();
        clock.advance(kernel.lookMs);
        isBusy = false;
        if (JSON.stringify(kernel.held, text) === JSON.stringify(table, text) || !isAllowed()) return false;
        kernel.held = table;
        return true;
      },
    },
    gate: {
      mayPutBack: (object) => asked.push(object) < 3,
      assertNothingRests: () => {
        if (asked.length >= 3) throw new Error("it rests");
      },
    },
  });
  return { clock, kernel, asked, firewall };
}

const text = (_key: string, value: unknown) => (typeof value === "bigint" ? String(value) : value);

test("before a pass has said what there should be, nothing is put back", async () => {
  const { firewall, kernel } = bench();
  expect(await firewall.restore()).toEqual([]);
  expect(kernel.held).toBeUndefined();
});

test("what somebody removed comes back, and is counted as undone; what a pass changes is not", async () => {
  const { firewall, kernel, asked } = bench();
  expect(await firewall.keep(tableOf("10.244.0.0/16"))).toEqual(["table inet weft"]);
  expect(await firewall.restore()).toEqual([]);
  kernel.held = undefined;
  expect(await firewall.restore()).toEqual(["table inet weft"]);
  expect(await firewall.keep(tableOf("10.245.0.0/16"))).toEqual(["table inet weft"]);
  expect(asked).toEqual(["table inet weft"]);
  kernel.held = undefined;
  expect(await firewall.keep(tableOf("10.245.0.0/16"))).toEqual(["table inet weft"]);
  expect(asked).toHaveLength(2);
});

test("what may not be put back yet is a failure", async () => {
  const { firewall, kernel } = bench();
  await firewall.keep(tableOf("10.244.0.0/16"));
  for (let n = 0; n < 2; n++) {
    kernel.held = undefined;
    await firewall.restore();
  }
  kernel.held = undefined;
  await expect(firewall.restore()).rejects.toThrow("it rests");
  expect(kernel.held).toBeUndefined();
});

test("looks do not overlap, and one that fails does not stop the next", async () => {
  const { firewall, kernel } = bench();
  await Promise.all([firewall.keep(tableOf("10.244.0.0/16")), firewall.restore(), firewall.restore()]);
  expect(kernel.overlaps).toBe(0);
  kernel.lookMs = Number.NaN;
  await firewall.restore().catch(() => undefined);
  expect(await firewall.keep(tableOf("10.246.0.0/16"))).toEqual(["table inet weft"]);
});

test("the longer a look in vain takes, the longer the next one waits for more changes", async () => {
  const { firewall, clock, kernel } = bench();
  expect(firewall.delayMs).toBe(10);
  await firewall.keep(tableOf("10.244.0.0/16"));
  await firewall.restore();
  expect(firewall.delayMs).toBe(30);
  clock.advance(25);
  expect(firewall.delayMs).toBe(10);
  await firewall.restore();
  kernel.held = undefined;
  await firewall.restore();
  expect(firewall.delayMs).toBe(10);
});
