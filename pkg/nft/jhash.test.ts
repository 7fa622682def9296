import { expect, test } from "vitest";
import { jhash } from "./jhash.ts";

const hash = (text: string, seed: number) => jhash((at) => text.charCodeAt(at), text.length, seed);

// The reference values in driver5() of lookup3.c (Bob Jenkins, public domain).
test.each([
  ["", 0, 0xdead_beef],
  ["", 0xdead_beef, 0xbd5b_7dde],
  ["Four score and seven years ago", 0, 0x1777_0551],
  ["Four score and seven years ago", 1, 0xcd62_8161],
])("of %j with seed %i equals the author's", (text, seed, expected) => {
  expect(hash(text, seed)).toBe(expected);
});
