import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ConfigObject } from "../cni/config.ts";
import { formatAddress, parseAddress } from "../ip/address.ts";
import { candidates } from "./allocator.ts";
import { type RangeSet, readRangeSets } from "./ranges.ts";

function setOf(...ranges: object[]): RangeSet {
  const [set] = readRangeSets(new ConfigObject({ ranges: [ranges] }), new ConfigObject({}));
  return set ?? [];
}

const order = (set: RangeSet, cursor?: string): string[] =>
  [...candidates(set, cursor === undefined ? undefined : parseAddress(cursor))].map(({ address }) =>
    formatAddress(address),
  );

const small = { subnet: "10.0.0.0/29" };

describe("candidates", () => {
  test("begin at the range's start and skip the gateway", () => {
    expect(order(setOf(small))).toEqual(["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"]);
    expect(order(setOf({ ...small, rangeStart: "10.0.0.0", rangeEnd: "10.0.0.7", gateway: "10.0.0.4" }))).toEqual([
      ...["10.0.0.0", "10.0.0.1", "10.0.0.2", "10.0.0.3"],
      ...["10.0.0.5", "10.0.0.6", "10.0.0.7"],
    ]);
  });

  test("continue after the cursor and end with it", () => {
    expect(order(setOf(small), "10.0.0.4")).toEqual(["10.0.0.5", "10.0.0.6", "10.0.0.2", "10.0.0.3", "10.0.0.4"]);
    expect(order(setOf(small), "10.0.0.6")).toEqual(["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"]);
  });

  test("begin at the range's start if the cursor is outside the set", () => {
    expect(order(setOf(small), "10.9.0.4")).toEqual(order(setOf(small)));
    expect(order(setOf(small), "fd00::4")).toEqual(order(setOf(small)));
  });

  test("continue through all ranges of the set and wrap around", () => {
    const set = setOf({ subnet: "10.0.0.0/30" }, { subnet: "10.0.1.0/29" }, { subnet: "10.0.2.0/30" });
    expect(order(set, "10.0.1.5")).toEqual([
      "10.0.1.6",
      "10.0.2.2",
      "10.0.0.2",
      "10.0.1.2",
      "10.0.1.3",
      "10.0.1.4",
      "10.0.1.5",
    ]);
  });

  test("skip the gateway of every range of the set", () => {
    const low = { ...small, rangeEnd: "10.0.0.3", gateway: "10.0.0.5" };
    const high = { ...small, rangeStart: "10.0.0.4", gateway: "10.0.0.2" };
    expect(order(setOf(low, high))).toEqual(["10.0.0.1", "10.0.0.3", "10.0.0.4", "10.0.0.6"]);
  });

  test("include addresses that the bounds name explicitly", () => {
    expect(order(setOf({ subnet: "fd00::/126", rangeStart: "fd00::" }))).toEqual(["fd00::", "fd00::2", "fd00::3"]);
  });

  test("of a huge range are generated lazily", () => {
    const [first] = candidates(setOf({ subnet: "fd00::/64" }), parseAddress("fd00::ffff:0:0:0"));
    expect(first && formatAddress(first.address)).toBe("fd00::ffff:0:0:1");
  });

  test("are the same addresses for every cursor, each once", () => {
    const set = setOf(
      { subnet: "10.0.0.0/28", gateway: "10.0.0.9" },
      { subnet: "10.0.1.0/29", rangeStart: "10.0.1.3" },
    );
    const all = order(set).sort();
    fc.assert(
      fc.property(fc.constantFrom(...all, "10.0.0.9", "10.0.1.1"), (cursor) => {
        expect(order(set, cursor).sort()).toEqual(all);
        if (all.includes(cursor)) expect(order(set, cursor).at(-1)).toBe(cursor);
      }),
    );
  });
});
