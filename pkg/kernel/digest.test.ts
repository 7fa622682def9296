import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { fnv1a64, sha512 } from "./digest.ts";

test.each([
  ["", 0xcbf29ce484222325n],
  ["a", 0xaf63dc4c8601ec8cn],
  ["foobar", 0x85944171f73967e8n],
])("fnv1a64 of %j", (text, digest) => {
  expect(fnv1a64(text)).toBe(digest);
});

// Lengths around the limits at which the padding needs another block.
test.each([0, 1, 111, 112, 127, 128, 129, 239, 240, 300])(
  "sha512 of %i characters equals the system library's",
  (length) => {
    const text = "abcdefghij".repeat(30).slice(0, length);
    expect(sha512(text)).toBe(createHash("sha512").update(text).digest("hex"));
  },
);

test("sha512 encodes the text as UTF-8", () => {
  expect(sha512("größe ✓")).toBe(createHash("sha512").update("größe ✓").digest("hex"));
});
