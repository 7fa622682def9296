import { expect, test } from "vitest";
import { commentUserdata, readComment, readSetComment, setUserdata } from "./userdata.ts";

test("encodes a comment as type 0, its length with the NUL, and the text", () => {
  expect(commentUserdata("ab")).toEqual(Uint8Array.of(0, 3, 97, 98, 0));
  expect(commentUserdata(undefined)).toBe(undefined);
});

test("a set begins with the network byte order of its key", () => {
  expect(setUserdata("a")).toEqual(Uint8Array.of(0, 4, 2, 0, 0, 0, 7, 2, 97, 0));
});

test("a set of names states host byte order", () => {
  expect(setUserdata("a", { isHostOrder: true })).toEqual(Uint8Array.of(0, 4, 1, 0, 0, 0, 7, 2, 97, 0));
});

test.each(["", "cni:net/a/eth0", "ü", "x".repeat(127)])("parses comment %j back", (comment) => {
  expect(readComment(commentUserdata(comment))).toBe(comment);
  expect(readSetComment(setUserdata(comment))).toBe(comment);
});

test("throws for a comment that is too long for nft", () => {
  expect(() => commentUserdata("x".repeat(128))).toThrow(/128 bytes, but nft shows at most 127/);
});

test.each([
  ["none", undefined],
  ["empty", []],
  ["truncated in its value", [0, 9, 97]],
  ["truncated in its header", [0]],
  ["another type only", [5, 1, 0]],
])("finds no comment in user data that is %s", (_, bytes) => {
  expect(readComment(bytes === undefined ? undefined : Uint8Array.from(bytes))).toBe(undefined);
});
