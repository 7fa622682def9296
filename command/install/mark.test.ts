import fc from "fast-check";
import { expect, test } from "vitest";
import { runs } from "../../test/fuzz/samples.ts";
import { fakeExecutable } from "./fake-executable.ts";
import { buildIdOf } from "./mark.ts";

test("finds the build id in weft's note after other notes", () => {
  expect(buildIdOf(fakeExecutable("0123456789abcdef"))).toBe("0123456789abcdef");
});

test("a note of another owner is not weft's", () => {
  expect(buildIdOf(fakeExecutable("0123456789abcdef", { owner: "woft" }))).toBeUndefined();
  expect(buildIdOf(new TextEncoder().encode("#!/bin/sh\nexec weft\n"))).toBeUndefined();
});

test("reads truncated and corrupted files without an error", () => {
  const whole = fakeExecutable("0123456789abcdef");
  const spoilt = fc.tuple(
    fc.nat(whole.length),
    fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { maxLength: 8 }),
  );
  fc.assert(
    fc.property(spoilt, ([length, changes]) => {
      const bytes = whole.slice();
      for (const [at, value] of changes) bytes[at] = value;
      const found = buildIdOf(bytes.subarray(0, length));
      expect(found === undefined || found.length <= whole.length).toBe(true);
    }),
    { numRuns: runs(500, 20_000) },
  );
});
