import { expect, test } from "vitest";
import { ManualClock } from "../../../pkg/cluster/manual-clock.ts";
import { LineLimit } from "./line-limit.ts";

function bench() {
  const clock = new ManualClock();
  const reports: (readonly [atMs: number, suppressed: number])[] = [];
  const report = (suppressed: number) => reports.push([clock.nowMs(), suppressed]);
  const limit = new LineLimit({ clock, lines: 3, periodMs: 1000, report });
  const take = (times: number) => Array.from({ length: times }, () => limit.take()).filter(Boolean).length;
  return { clock, reports, limit, take };
}

test("allows so many lines in each period, and reports the others once at its end", () => {
  const { clock, reports, take } = bench();
  expect(take(3)).toBe(3);
  clock.advance(400);
  expect(take(10)).toBe(0);
  clock.advance(500);
  expect(take(1)).toBe(0);
  expect(reports).toEqual([]);
  clock.advance(100);
  expect(reports).toEqual([[1000, 11]]);
  expect(take(5)).toBe(3);
  clock.advance(5000);
  expect(reports.slice(1)).toEqual([[2000, 2]]);
});

test("reports nothing if no line was suppressed, and leaves no timer", () => {
  const { clock, reports, take } = bench();
  take(3);
  expect(clock.pendingMs()).toEqual([]);
  clock.advance(10_000);
  expect(reports).toEqual([]);
});

test("a flush reports at once, and only once", () => {
  const { clock, reports, limit, take } = bench();
  take(4);
  limit.flush();
  clock.advance(2000);
  expect(reports).toEqual([[0, 1]]);
  expect(clock.pendingMs()).toEqual([]);
});
