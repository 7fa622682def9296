import { expect, test } from "vitest";
import { ManualClock } from "../../pkg/cluster/manual-clock.ts";
import { Loop, type LoopOptions } from "./loop.ts";

/** A loop whose passes end when the test ends them. */
class Bench {
  readonly clock = new ManualClock();
  readonly passes: { reasons: readonly string[]; end: (error?: Error) => Promise<void> }[] = [];
  readonly failures: number[] = [];
  readonly loop: Loop;

  constructor(options: Partial<LoopOptions> = {}) {
    this.loop = new Loop({
      clock: this.clock,
      backoff: { initialMs: 100, maxMs: 400 },
      patienceMs: 20,
      onFailure: (_error, retryMs) => this.failures.push(retryMs),
      pass: (reasons) =>
        new Promise((resolve, reject) => {
          const end = async (error?: Error) => {
            if (error === undefined) resolve();
            else reject(error);
            await settled();
          };
          this.passes.push({ reasons, end });
        }),
      ...options,
    });
  }

  get last() {
    const pass = this.passes.at(-1);
    if (pass === undefined) throw new Error("no pass has begun");
    return pass;
  }
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

test("requests of one moment make one pass with all their reasons", () => {
  const { loop, clock, passes } = new Bench();
  loop.ask("nodes");
  loop.ask("nodes");
  loop.ask("kernel", { delayMs: 10 });
  clock.advance(0);
  expect(passes.map(({ reasons }) => reasons)).toEqual([["nodes"]]);
});

test("a delay counts from the first request, so a stream of requests cannot postpone the pass", () => {
  const { loop, clock, passes } = new Bench();
  loop.ask("kernel", { delayMs: 10 });
  clock.advance(8);
  loop.ask("kernel", { delayMs: 10 });
  expect(passes).toHaveLength(0);
  clock.advance(2);
  expect(passes).toHaveLength(1);
});

test("passes do not overlap, and a request during a pass is answered by the next", async () => {
  const bench = new Bench();
  bench.loop.ask("first");
  bench.clock.advance(0);
  bench.loop.ask("second");
  bench.clock.advance(1000);
  expect(bench.passes).toHaveLength(1);
  await bench.last.end();
  bench.clock.advance(0);
  expect(bench.last.reasons).toEqual(["second"]);
});

test("a failed pass is retried with back-off, and a success resets the back-off", async () => {
  const bench = new Bench();
  bench.loop.ask("nodes");
  bench.clock.advance(0);
  for (let n = 0; n < 4; n++) {
    await bench.last.end(new Error("refused"));
    bench.clock.advance(400);
    expect(bench.last.reasons).toEqual(["retry"]);
  }
  expect(bench.failures).toEqual([50, 100, 200, 200]);
  await bench.last.end();
  bench.loop.ask("nodes");
  bench.clock.advance(0);
  await bench.last.end(new Error("refused"));
  expect(bench.failures.at(-1)).toBe(50);
});

test("after a failure a patient request waits for the retry, another request does not", async () => {
  const bench = new Bench();
  bench.loop.ask("nodes");
  bench.clock.advance(0);
  await bench.last.end(new Error("refused"));
  bench.loop.ask("kernel", { delayMs: 1, isPatient: true });
  bench.clock.advance(1);
  expect(bench.passes).toHaveLength(1);
  bench.loop.ask("nodes");
  bench.clock.advance(0);
  expect(bench.last.reasons).toEqual(["nodes"]);
});

test("a patient request after patienceMs hurries the retry and the one after it", async () => {
  const bench = new Bench();
  bench.loop.ask("nodes");
  bench.clock.advance(0);
  for (let n = 0; n < 3; n++) {
    await bench.last.end(new Error("refused"));
    bench.clock.advance(400);
  }
  await bench.last.end(new Error("refused"));
  bench.clock.advance(20);
  const before = bench.passes.length;
  bench.loop.ask("kernel", { delayMs: 1, isPatient: true });
  bench.clock.advance(1);
  expect(bench.passes).toHaveLength(before + 1);
  expect(bench.last.reasons).toEqual(["kernel"]);
  await bench.last.end(new Error("refused"));
  expect(bench.failures.at(-1)).toBe(50);
});

test("a patient request during a pass is answered by the next pass after a success, by the retry after a failure", async () => {
  const bench = new Bench();
  bench.loop.ask("nodes");
  bench.clock.advance(0);
  bench.loop.ask("kernel", { delayMs: 1, isPatient: true });
  await bench.last.end(new Error("refused"));
  bench.clock.advance(49);
  expect(bench.passes).toHaveLength(1);
  bench.clock.advance(1);
  bench.loop.ask("kernel", { delayMs: 1, isPatient: true });
  await bench.last.end();
  bench.clock.advance(1);
  expect(bench.last.reasons).toEqual(["kernel"]);
});

test("passes at an interval begin at its multiples, whenever the last pass ended", async () => {
  const bench = new Bench({ intervalMs: 60_000 });
  const begun = [];
  for (const endedMs of [17_000, 60_500, 179_995]) {
    bench.clock.advance(endedMs - bench.clock.nowMs());
    bench.loop.ask("test");
    bench.clock.advance(0);
    await bench.last.end();
    const count = bench.passes.length;
    while (bench.passes.length === count) bench.clock.advance(5);
    begun.push(bench.clock.nowMs());
    await bench.last.end();
  }
  // The last one would have followed 5 ms after the end of the pass.
  expect(begun).toEqual([60_000, 120_000, 240_000]);
});

test("a pass follows a success after the interval", async () => {
  const bench = new Bench({ intervalMs: 60_000 });
  bench.loop.ask("start");
  bench.clock.advance(0);
  await bench.last.end();
  bench.clock.advance(59_999);
  expect(bench.passes).toHaveLength(1);
  bench.clock.advance(1);
  expect(bench.last.reasons).toEqual(["interval"]);
});

test("stop waits for the running pass and lets none follow", async () => {
  const bench = new Bench({ intervalMs: 1000 });
  bench.loop.ask("start");
  bench.clock.advance(0);
  bench.loop.ask("more");
  let isStopped = false;
  const stopped = bench.loop.stop().then(() => {
    isStopped = true;
  });
  await settled();
  expect(isStopped).toBe(false);
  await bench.last.end();
  await stopped;
  bench.loop.ask("late");
  bench.clock.advance(10_000);
  expect(bench.passes).toHaveLength(1);
  expect(bench.clock.pendingMs()).toEqual([]);
});

test("a failed pass is retried after promisingMs if that is shorter than the back-off", async () => {
  let promisingMs: number | undefined = 30;
  const bench = new Bench({ promisingMs: () => promisingMs });
  bench.loop.ask("kernel");
  bench.clock.advance(0);
  await bench.last.end(new Error("rests"));
  expect(bench.failures).toEqual([30]);
  bench.clock.advance(30);
  expect(bench.passes).toHaveLength(2);
  promisingMs = 100_000;
  await bench.last.end(new Error("rests"));
  expect(bench.failures[1]).toBeLessThanOrEqual(200);
});

test("a failed pass is not retried before its pauseMs, even if promisingMs is shorter", async () => {
  const bench = new Bench({ promisingMs: () => 30, pauseMs: () => 1000, patienceMs: Number.POSITIVE_INFINITY });
  bench.loop.ask("start");
  bench.clock.advance(0);
  await bench.last.end(new Error("refused"));
  expect(bench.failures).toEqual([1000]);
  bench.clock.advance(500);
  bench.loop.ask("kernel", { delayMs: 1, isPatient: true });
  bench.clock.advance(499);
  expect(bench.passes).toHaveLength(1);
  bench.clock.advance(1);
  expect(bench.last.reasons).toEqual(["retry", "kernel"]);
});
