import { expect, test } from "vitest";
import { planCalls } from "./call.ts";
import { median, quantile } from "./statistics.ts";

test.each([
  [[3], 0.5, 3],
  [[3, 1, 2], 0.5, 2],
  [[4, 1, 3, 2], 0.5, 2],
  [[10, 9, 8, 7, 6, 5, 4, 3, 2, 1], 0.99, 10],
  [Array.from({ length: 100 }, (_, at) => at + 1), 0.99, 99],
  [[5, 7], 0, 5],
])("the quantile of %j at %f is %f", (samples, share, expected) => {
  expect(quantile(samples, share)).toBe(expected);
});

test("samples keep their order", () => {
  const samples = [3, 1, 2];
  expect(median(samples)).toBe(2);
  expect(samples).toEqual([3, 1, 2]);
});

test("the median of no samples is an error", () => {
  expect(() => median([])).toThrow(RangeError);
});

test("calls alternate strictly, and both sides are first equally often", () => {
  const calls = planCalls(4);
  for (let at = 0; at < calls.length; at += 2) {
    expect(calls[at]?.verb).toBe(calls[at + 1]?.verb);
    expect(calls[at]?.side).not.toBe(calls[at + 1]?.side);
  }
  expect(calls.filter(({ side }, at) => at % 2 === 0 && side === "weft")).toHaveLength(calls.length / 4);
});

test("each ADD is followed by a DEL of the same side and container before the next ADD", () => {
  const attached = new Map<string, string>();
  for (const { side, verb, containerId } of planCalls(5)) {
    if (verb === "ADD") {
      expect(attached.has(side)).toBe(false);
      attached.set(side, containerId);
    } else if (verb === "DEL") {
      expect(attached.get(side)).toBe(containerId);
      attached.delete(side);
    }
  }
  expect(attached.size).toBe(0);
});
