import fc from "fast-check";
import { expect, test } from "vitest";
import { runs } from "../../test/fuzz/samples.ts";
import { canonical, isSameMeaning } from "./meaning.ts";

const { value } = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    fc.constantFrom(undefined, 0, 0n, 1, 1n, "0", "1", ""),
    fc.uint8Array({ minLength: 1, maxLength: 2 }),
    fc.array(fc.dictionary(fc.constantFrom("a", "b"), tie("value"), { noNullPrototype: true }), { maxLength: 2 }),
    fc.dictionary(fc.constantFrom("a", "b", "unknown"), tie("value"), { maxKeys: 3, noNullPrototype: true }),
  ),
}));

test("values have the same meaning if and only if their canonical texts are equal", () => {
  fc.assert(
    fc.property(fc.record({ field: value }), fc.record({ field: value }), (a, b) => {
      expect(isSameMeaning(a, b)).toBe(canonical(a) === canonical(b));
      expect(isSameMeaning(a, a)).toBe(true);
    }),
    { numRuns: runs(3000, 300_000) },
  );
});
