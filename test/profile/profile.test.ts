import { expect, test } from "vitest";
import { nativeTotals, parseProfile, totals } from "./profile.ts";

const NAMES = {
  javascript: (name: string, line: number) => ({ name, file: `file.ts:${line}` }),
  native: (address: number) => ({ name: `c${address}`, file: "C" }),
};

/** main calls `walk` twice, which calls itself, and a C function. */
const TEXT = [
  "f main",
  "f js walk 3 1",
  "f c 64",
  "n 0 0 0 10",
  "n 0 1 2 20",
  "n 1 1 3 30",
  "n 2 2 4 40",
  "a 100 60",
  "a 104 40",
];

test("counts a function over all contexts, and a recursive call once", () => {
  const rows = totals(parseProfile(TEXT.join("\n"), NAMES)).map(({ function: { name }, calls, own, inclusive }) => [
    name,
    calls,
    own,
    inclusive,
  ]);
  expect(rows).toEqual([
    ["walk", 5, 50, 90],
    ["c64", 4, 40, 40],
    ["main", 0, 10, 100],
  ]);
});

test("adds up the addresses of a C function", () => {
  const nameOf = (address: number) => (address < 104 ? "one" : "other");
  expect(nativeTotals(parseProfile(TEXT.join("\n"), NAMES), nameOf)).toEqual([
    ["one", 60],
    ["other", 40],
  ]);
});

test("refuses an empty profile", () => {
  expect(() => parseProfile("", NAMES)).toThrow("the profile is empty");
});
