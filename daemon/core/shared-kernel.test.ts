import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import { ManualClock } from "../../pkg/cluster/manual-clock.ts";
import type { KernelSnapshot } from "../../pkg/kernel/snapshot.ts";
import { type Observation, SharedKernel } from "./shared-kernel.ts";

const EMPTY: KernelSnapshot = { links: [], addresses: [], routes: [], neighbours: [], forwarding: [] };

function bench() {
  const clock = new ManualClock();
  const dumps: { resolve: (observation: Observation) => void; reject: (error: Error) => void }[] = [];
  const kernel = new SharedKernel(
    () => new Promise<Observation>((resolve, reject) => dumps.push({ resolve, reject })),
    clock,
  );
  return { clock, kernel, dumps };
}

test("controllers that run at the same time share one dump, whether running or just finished", async () => {
  const { kernel, dumps } = bench();
  const first = kernel.snapshot();
  const second = kernel.snapshot();
  dumps[0]?.resolve({ state: EMPTY, port: 7 });
  expect(await first).toBe(await second);
  expect(await kernel.snapshot()).toBe(await first);
  expect(dumps).toHaveLength(1);
});

test("a change invalidates earlier dumps, including a running one", () => {
  const { kernel, dumps } = bench();
  void kernel.snapshot();
  kernel.changed();
  void kernel.snapshot();
  void kernel.snapshot();
  expect(dumps).toHaveLength(2);
});

test("a dump expires after a moment, since the kernel does not announce every change", async () => {
  const { clock, kernel, dumps } = bench();
  const first = kernel.snapshot();
  clock.advance(500);
  dumps[0]?.resolve({ state: EMPTY, port: 7 });
  await first;
  clock.advance(99);
  void kernel.snapshot();
  expect(dumps).toHaveLength(1);
  clock.advance(1);
  void kernel.snapshot();
  expect(dumps).toHaveLength(2);
});

test("a failed dump fails all callers that share it, and the next call starts a new one", async () => {
  const { kernel, dumps } = bench();
  const calls = [kernel.snapshot(), kernel.snapshot()];
  dumps[0]?.reject(new Error("no buffer space"));
  for (const call of calls) await expect(call).rejects.toThrow("no buffer space");
  void kernel.snapshot();
  expect(dumps).toHaveLength(2);
});

test("an expired dump is not kept in memory", async () => {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  const clock = new ManualClock();
  const kernel = new SharedKernel(async () => ({ state: { ...EMPTY }, port: 7 }), clock);
  const dump = new WeakRef(await kernel.snapshot());
  const isHeld = async () => {
    // Targets of weak references stay alive until the end of the turn that made or dereferenced them.
    await new Promise((resolve) => setTimeout(resolve, 1));
    collect();
    return dump.deref() !== undefined;
  };
  expect(await isHeld()).toBe(true);
  clock.advance(100);
  expect(await isHeld()).toBe(false);
});
