import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { replaceFile } from "./replace-file.ts";

let directory = "";
let path = "";
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "weftd-replace-"));
  path = join(directory, "05-weft.conflist");
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

test("creates a missing file, replaces a different one, and leaves no temporary file", async () => {
  expect(await replaceFile(path, "one")).toBe(true);
  expect(await replaceFile(path, "two")).toBe(true);
  expect(readFileSync(path, "utf8")).toBe("two");
  expect(readdirSync(directory)).toEqual(["05-weft.conflist"]);
});

test("does not write a file that has the content already", async () => {
  await replaceFile(path, "one");
  const before = statSync(path);
  expect(await replaceFile(path, "one")).toBe(false);
  const { ino, mtimeMs } = statSync(path);
  expect([ino, mtimeMs]).toEqual([before.ino, before.mtimeMs]);
});

test("overwrites the half-written file of a killed process", async () => {
  writeFileSync(join(directory, ".05-weft.conflist.new"), "a much longer, half-written text");
  await replaceFile(path, "one");
  expect(readFileSync(path, "utf8")).toBe("one");
  expect(readdirSync(directory)).toEqual(["05-weft.conflist"]);
});

test("the error for a missing directory names it", async () => {
  await expect(replaceFile(join(directory, "missing", "file"), "one")).rejects.toThrow(/ENOENT.*missing/);
});
