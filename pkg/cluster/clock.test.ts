import { describe, expect, test } from "vitest";
import { Backoff } from "./backoff.ts";
import { SilenceTimer, SYSTEM_CLOCK, sleep } from "./clock.ts";
import { LineSplitter } from "./lines.ts";
import { ManualClock } from "./manual-clock.ts";

describe("SilenceTimer", () => {
  test("fires after its time without a touch, not earlier", () => {
    const clock = new ManualClock();
    let fired = 0;
    const timer = new SilenceTimer(clock, 100, () => fired++);
    clock.advance(90);
    timer.touch();
    clock.advance(99);
    expect(fired).toBe(0);
    clock.advance(1);
    expect(fired).toBe(1);
    expect(clock.pendingMs()).toEqual([]);
  });

  test("keeps one timer for any number of touches and none after stop", () => {
    const clock = new ManualClock();
    const timer = new SilenceTimer(clock, 100, () => undefined);
    for (let n = 0; n < 50; n++) timer.touch();
    expect(clock.pendingMs()).toEqual([100]);
    timer.stop();
    expect(clock.pendingMs()).toEqual([]);
  });
});

describe("sleep", () => {
  test("ends early and leaves no timer if aborted", async () => {
    const clock = new ManualClock();
    const controller = new AbortController();
    const asleep = sleep(clock, 1000, controller.signal);
    controller.abort();
    await asleep;
    await sleep(clock, 1000, controller.signal);
    expect(clock.pendingMs()).toEqual([]);
  });

  test("takes the given time on the system's clock", async () => {
    const before = SYSTEM_CLOCK.nowMs();
    await sleep(SYSTEM_CLOCK, 20, new AbortController().signal);
    expect(SYSTEM_CLOCK.nowMs() - before).toBeGreaterThanOrEqual(19);
  });
});

describe("Backoff", () => {
  const next = (backoff: Backoff, times: number) => Array.from({ length: times }, () => backoff.next());

  test("doubles up to its limit and starts again after a reset", () => {
    const backoff = new Backoff({ initialMs: 100, maxMs: 500, random: () => 0 });
    expect(next(backoff, 5)).toEqual([50, 100, 200, 250, 250]);
    backoff.reset();
    expect(next(backoff, 2)).toEqual([50, 100]);
  });

  test("spreads delays over the upper half of the ceiling", () => {
    const backoff = new Backoff({ initialMs: 100, maxMs: 100, random: () => 0.999 });
    expect(backoff.next()).toBeCloseTo(99.95);
  });
});

describe("LineSplitter", () => {
  const bytes = new TextEncoder().encode('{"a":"é"}\n\n{"b":2}\r\n{"c"');

  test.each([1, 2, 3, 7, 100])("returns the same lines from chunks of %i bytes", (size) => {
    const splitter = new LineSplitter();
    const lines = [];
    for (let at = 0; at < bytes.length; at += size) lines.push(...splitter.push(bytes.slice(at, at + size)));
    expect(lines.map((line) => JSON.parse(line))).toEqual([{ a: "é" }, { b: 2 }]);
    expect(splitter.isInLine).toBe(true);
  });

  test("is not inside a line after a complete line", () => {
    const splitter = new LineSplitter();
    splitter.push(new TextEncoder().encode("x\n"));
    expect(splitter.isInLine).toBe(false);
  });

  test("throws on a line that never ends", () => {
    const splitter = new LineSplitter();
    const piece = new Uint8Array(4 * 1024 * 1024).fill(97);
    const push = () => splitter.push(piece);
    for (let n = 0; n < 4; n++) push();
    expect(push).toThrow(/longer than/);
  });
});
