/** A smaller cluster than the benchmark's (`npm run bench -- scale`), part of every test run. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { ScaleBed } from "./bed.ts";

const PEERS = 300;

let bed: ScaleBed;
beforeAll(async () => {
  bed = await ScaleBed.make();
  await bed.populate(PEERS);
});
afterAll(() => bed?.close());

test("a new node programs all peers with one list and one pass", async () => {
  const before = await bed.sight();
  const { nodes, weftdMs, sentMs, batchMs } = await bed.program();
  expect(nodes).toBe(PEERS);
  console.log(
    `${PEERS} peers: ${weftdMs} ms after the list, ${sentMs} of them to program; -batch ${batchMs.toFixed(1)} ms`,
  );
  // One page, and no Node is read individually.
  const { lists, gets } = await bed.sight();
  expect(lists - before.lists).toBe(1);
  expect(gets - before.gets).toBeLessThan(10);
});

test("weftd returns the memory that its start needed", async () => {
  const { peakBytes } = await bed.memory();
  const { residentBytes, anonymousBytes, cpuShare } = await bed.rest(5);
  const mib = (bytes: number) => Math.round(bytes / 2 ** 20);
  console.log(`peak ${mib(peakBytes)} MiB, at rest ${mib(residentBytes)} MiB (${mib(anonymousBytes)} without files)`);
  expect(mib(residentBytes)).toBeLessThan(60);
  expect(residentBytes).toBeLessThan(peakBytes * 0.7);
  expect(cpuShare).toBeLessThan(0.2);
});

test("a thousand changes per second are joined into a few passes, and none is lost", async () => {
  const { changes, passes, settledMs } = await bed.churn(1000, 3);
  console.log(`${changes} changes in 3 seconds: ${passes} passes, settled ${settledMs.toFixed(0)} ms after the last`);
  expect(passes).toBeGreaterThan(0);
  expect(passes).toBeLessThan(changes / 5);
});

test("lost notifications cause a full comparison", async () => {
  expect(await bed.overrun()).toBeGreaterThan(0);
});

test("a mass relist removes exactly the deleted Nodes", async () => {
  const { left, came, removed } = await bed.relist(20);
  expect([left, came]).toEqual([20, 20]);
  expect(new Set(removed).size).toBe(left);
});
