import { expect, test } from "vitest";
import { DEFAULT_VERSION, isAtLeast, isVersion, LATEST_VERSION, VERSIONS, versionsFrom } from "./versions.ts";

test("versions are ordered from the oldest to the newest", () => {
  expect([VERSIONS[0], VERSIONS.at(-1)]).toEqual([DEFAULT_VERSION, LATEST_VERSION]);
  for (const [index, version] of VERSIONS.entries()) {
    expect(VERSIONS.map((other) => isAtLeast(version, other))).toEqual(VERSIONS.map((_, other) => other <= index));
  }
});

test("versionsFrom includes its minimum", () => {
  expect(versionsFrom("0.4.0")).toEqual(["0.4.0", "1.0.0", "1.1.0"]);
});

test.each(["0.3.2", "1.1", "", "2.0.0", "v1.1.0", "length"])("%j is not a version", (text) => {
  expect(isVersion(text)).toBe(false);
});
