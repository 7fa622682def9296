import { expect, test } from "vitest";
import { compareStories, findDifferences, isMeant } from "./comparison.ts";

test("a difference has the path of its place", () => {
  expect(findDifferences({ a: { b: 1, c: [1, 2] } }, { a: { b: 2, c: [1, 3] } })).toEqual([
    { at: "a/b", ours: 1, theirs: 2 },
    { at: "a/c/1", ours: 2, theirs: 3 },
  ]);
});

test("a branch that one side lacks is one difference", () => {
  expect(findDifferences({ a: {} }, { a: { b: { c: 1, d: 2 } } })).toEqual([
    { at: "a/b", ours: undefined, theirs: { c: 1, d: 2 } },
  ]);
});

test("equal values make no difference, whatever the order of keys", () => {
  expect(findDifferences({ a: 1, b: [] }, { b: [], a: 1 })).toEqual([]);
});

test("a row covers what it names, and nothing else", () => {
  const row = { plugin: ["bridge", "ptp"], case: /mtu/, at: /^1 ADD\/status$/, ours: 0, theirs: 1, reason: "" };
  const finding = { at: "1 ADD/status", ours: 0, theirs: 1 };
  expect(isMeant(row, "bridge", "an mtu", finding)).toBe(true);
  expect(isMeant(row, "vlan", "an mtu", finding)).toBe(false);
  expect(isMeant(row, "bridge", "plain", finding)).toBe(false);
  expect(isMeant(row, "bridge", "an mtu", { ...finding, at: "2 DEL/status" })).toBe(false);
  expect(isMeant(row, "bridge", "an mtu", { ...finding, ours: 1 })).toBe(false);
});

test("a difference that stays from step to step is reported once", () => {
  const story = (mtu: number) => ({ "1 ADD": { status: 0, node: { mtu } }, "2 DEL": { status: 0, node: { mtu } } });
  expect(compareStories(story(1), story(2))).toEqual([{ at: "1 ADD/node/mtu", ours: 1, theirs: 2, refused: false }]);
});
