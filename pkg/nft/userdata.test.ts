import { expect, test } from "vitest";
import { commentUserdata, readComment, readSetComment, setUserdata } from "./userdata.ts";

test("a comment is type 0, its length with the NUL, and the text", () => {
  expect(commentUserdata("ab")).toEqual(Uint8Array.of(0, 3, 97, 98, 0));
  expect(commentUserdata(undefined)).toBe(undefined);
});

test("a set says first that its key is in network order", () => {
  expect(setUserdata("a")).toEqual(Uint8Array.of(0, 4, 2, 0, 0, 0, 7, 2, 97, 0));
});

test("a set of names says that they are in the machine's order", () => {
  expect(setUserdata("a", { isHostOrder: true })).toEqual(Uint8Array.of(0, 4, 1, 0, 0, 0, 7, 2, 97, 0));
});

test.each(["", "cni:net/a/eth0", "ü", "x".repeat(127)])("comment %j comes back", (comment) => {
  expect(readComment(commentUserdata(comment))).toBe(comment);
  expect(readSetComment(setUserdata(comment))).toBe(comment);
});

test("a comment that nft would not show is refused", () => {
  expect(() => commentUserdata("x".repeat(128))).toThrow(/128 bytes: nft shows at most 127/);
});

test.each([
  ["none", undefined],
  ["empty", []],
  ["cut in its value", [0, 9, 97]],
  ["cut in its header", [0]],
  ["another type only", [5, 1, 0]],
])("user data that is %s has no comment", (_, bytes) => {
  expect(readComment(bytes === undefined ? undefined : Uint8Array.from(bytes))).toBe(undefined);
});
