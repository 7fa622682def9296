import { expect, test } from "vitest";
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
