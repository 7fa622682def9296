import { expect, test } from "vitest";
import { formatDataPath, MEASURES, ratioOf, rowsOf, type Samples, SIDES, type Side } from "./report.ts";

/** The same values of each round for all measures of a side. */
function samplesOf(values: Readonly<Record<Side, readonly number[]>>): Samples {
  const entries = SIDES.map((side) => [side, Object.fromEntries(MEASURES.map((measure) => [measure, values[side]]))]);
  return Object.fromEntries(entries) as Samples;
}

const rows = (weft: readonly number[]) =>
  rowsOf(
    "vxlan",
    4,
    samplesOf({ nodes: [4e9, 4e9], bare: [3e9, 3e9], byHand: [2e9, 1e9], weft, routed: weft, full: [1e9, 1e9] }),
  );
const kept = (weft: readonly number[]) => rows(weft).flatMap(({ measure, isKept }) => (isKept ? [measure] : []));

test("a ratio is the median of the rounds' ratios, not the ratio of medians", () => {
  // A round that was slow for both sides has the same ratio.
  expect(ratioOf([10, 1, 12], [10, 1, 10])).toEqual({ median: 1, least: 1, most: 1.2 });
});

test("values are medians in their unit", () => {
  const [stream, , latency] = rows([2e9, 1e9]);
  expect(stream?.unit).toBe("Gbit/s");
  expect(stream?.values).toMatchObject({ nodes: 4, bare: 3, byHand: 1, full: 1 });
  expect(latency?.values.nodes).toBe(4e6);
  expect(stream?.handToNodes).toEqual({ median: 0.25, least: 0.25, most: 0.5 });
});

test("a bound holds for rates from below and for times from above; the tail has none", () => {
  expect(kept([2e9, 1e9])).toEqual(MEASURES);
  expect(kept([1.9e9, 0.95e9])).toEqual(["latency", "tail"]);
  expect(kept([2.1e9, 1.05e9])).toEqual(["stream", "streams", "tail", "connections"]);
});

test("the table has all sides and says which bounds are exceeded", () => {
  const text = formatDataPath({ rounds: 2, rows: rows([2.1e9, 1.05e9]) });
  expect(text).toContain("Services, policies");
  expect(text).toMatch(/request, median: weft 1\.050 of by hand, at most 1\.02: EXCEEDED/);
  expect(text).toMatch(/TCP, 1 stream: weft 1\.050 of by hand, at least 0\.99: kept/);
  expect(text).not.toMatch(/p99: weft/);
});
