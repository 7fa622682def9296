import { describe, expect, test } from "vitest";
import { Backoff } from "./backoff.ts";
import { SilenceTimer, SYSTEM_CLOCK, sleep } from "./clock.ts";
import { LineSplitter } from "./lines.ts";
import { ManualClock } from "./manual-clock.ts";

describe("SilenceTimer", () => {
  test("goes off when nothing was heard for its time, and not before", () => {
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

  test("keeps one timer however often it is touched, and none when stopped", () => {
    const clock = new ManualClock();
    const timer = new SilenceTimer(clock, 100, () => undefined);
    for (let n = 0; n < 50; n++) timer.touch();
    expect(clock.pendingMs()).toEqual([100]);
    timer.stop();
    expect(clock.pendingMs()).toEqual([]);
  });
});

describe("sleep", () => {
  test("ends early, and leaves no timer, when aborted", async () => {
    const clock = new ManualClock();
    const controller = new AbortController();
    const asleep = sleep(clock, 1000, controller.signal);
    controller.abort();
    await asleep;
    await sleep(clock, 1000, controller.signal);
    expect(clock.pendingMs()).toEqual([]);
  });

  test("on the system's clock takes its time", async () => {
    const before = SYSTEM_CLOCK.nowMs();
    await sleep(SYSTEM_CLOCK, 20, new AbortController().signal);
    expect(SYSTEM_CLOCK.nowMs() - before).toBeGreaterThanOrEqual(19);
  });
});

describe("Backoff", () => {
  const next = (backoff: Backoff, times: number) => Array.from({ length: times }, () => backoff.next());

  test("doubles up to its limit and begins anew after a reset", () => {
    const backoff = new Backoff({ initialMs: 100, maxMs: 500, random: () => 0 });
    expect(next(backoff, 5)).toEqual([50, 100, 200, 250, 250]);
    backoff.reset();
    expect(next(backoff, 2)).toEqual([50, 100]);
  });

  test("spreads over the upper half", () => {
    const backoff = new Backoff({ initialMs: 100, maxMs: 100, random: () => 0.999 });
    expect(backoff.next()).toBeCloseTo(99.95);
  });
});

describe("LineSplitter", () => {
  const bytes = new TextEncoder().encode('{"a":"é"}\n\n{"b":2}\r\n{"c"');

  test.each([1, 2, 3, 7, 100])("gives the same lines in pieces of %i bytes", (size) => {
    const splitter = new LineSplitter();
    const lines = [];
    for (let at = 0; at < bytes.length; at += size) lines.push(...splitter.push(bytes.slice(at, at + size)));
    expect(lines.map((line) => JSON.parse(line))).toEqual([{ a: "é" }, { b: 2 }]);
    expect(splitter.isInLine).toBe(true);
  });

  test("is not in a line after a complete one", () => {
    const splitter = new LineSplitter();
    splitter.push(new TextEncoder().encode("x\n"));
    expect(splitter.isInLine).toBe(false);
  });

  test("refuses a line without end", () => {
    const splitter = new LineSplitter();
    const piece = new Uint8Array(4 * 1024 * 1024).fill(97);
    const push = () => splitter.push(piece);
    for (let n = 0; n < 4; n++) push();
    expect(push).toThrow(/longer than/);
  });
});
