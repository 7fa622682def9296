import fc from "fast-check";
import { expect, test } from "vitest";
import { runs } from "../../test/fuzz/samples.ts";
import { fakeExecutable } from "./fake-executable.ts";
import { buildIdOf } from "./mark.ts";

test("weft's note is found behind others, and says the build", () => {
  expect(buildIdOf(fakeExecutable("0123456789abcdef"))).toBe("0123456789abcdef");
});

test("another's note is not weft's", () => {
  expect(buildIdOf(fakeExecutable("0123456789abcdef", { owner: "woft" }))).toBeUndefined();
  expect(buildIdOf(new TextEncoder().encode("#!/bin/sh\nexec weft\n"))).toBeUndefined();
});

test("whatever is cut off or spoilt is read without an error", () => {
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
