import fc from "fast-check";
import { expect, test } from "vitest";
import { runs, samplesOf, seed } from "./samples.ts";

test("by default a test tries few cases from a fixed seed", () => {
  const samples = samplesOf(undefined, undefined);
  expect(samples.runs(3, 30)).toBe(3);
  expect(samples.seed).toBe(samplesOf(undefined, undefined).seed);
  expect(samples.seed).toEqual(expect.any(Number));
});

test("with WEFT_FUZZ=true a test tries many cases from a new seed, and has more time", () => {
  const samples = samplesOf("true", undefined);
  expect(samples.runs(3, 30)).toBe(30);
  expect(samples.seed).toBeUndefined();
  expect(samples.limitMs).toBeGreaterThan(samplesOf(undefined, undefined).limitMs);
});

test.each([undefined, "true"])("WEFT_FUZZ_SEED sets the seed, with WEFT_FUZZ=%s", (fuzz) => {
  expect(samplesOf(fuzz, "-77").seed).toBe(-77);
  expect(() => samplesOf(fuzz, "x")).toThrow("WEFT_FUZZ_SEED=x is not an integer");
});

test("fast-check has the seed and the number of cases of this run", () => {
  expect(fc.readConfigureGlobal()).toMatchObject({ numRuns: runs(100, 1000), ...(seed === undefined ? {} : { seed }) });
});
