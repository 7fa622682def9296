import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { afterEach, beforeEach, expect, test } from "vitest";
import { reserveAddresses, writeForeignChains } from "./load.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(`${tmpdir()}/weft-load-`);
});
afterEach(() => rmSync(folder, { recursive: true }));

test("reserves addresses one after another, each for its own container", () => {
  reserveAddresses(folder, "10.240", 300);
  const files = readdirSync(folder).filter((name) => name.startsWith("10."));
  expect(files).toHaveLength(300);
  expect(files).toContain("10.240.0.2");
  expect(files).toContain("10.240.1.45");
  expect(readFileSync(`${folder}/last_reserved_ip.0`, "utf8")).toBe("10.240.1.45");
  const owners = files.map((name) => readFileSync(`${folder}/${name}`, "utf8"));
  expect(new Set(owners).size).toBe(300);
  for (const owner of owners) expect(owner).toMatch(/^[0-9a-f]{64}\r\neth0$/);
});

test("an empty network has no files", () => {
  reserveAddresses(folder, "10.240", 0);
  expect(readdirSync(folder)).toEqual([]);
});

test("the chains of the other program differ", () => {
  writeForeignChains(`${folder}/foreign.nft`, 1000);
  const text = readFileSync(`${folder}/foreign.nft`, "utf8");
  expect(new Set(text.match(/chain \S+/g)).size).toBe(1000);
  expect(new Set(text.match(/saddr \S+/g)).size).toBe(1000);
});
