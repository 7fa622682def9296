import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { disable, readConflistFolder } from "./conflist-folder.ts";

const OWN = "05-weft.conflist";
const FLANNEL = JSON.stringify({ name: "cbr0", plugins: [{ type: "flannel", delegate: {} }] });
const OTHER = JSON.stringify({ name: "x", plugins: [{ type: "bridge" }] });

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "weft-conflists-"));
});
afterEach(() => rm(folder, { recursive: true }));

const write = (files: Readonly<Record<string, string>>) =>
  Promise.all(Object.entries(files).map(([name, text]) => writeFile(join(folder, name), text)));
const NOTHING = { predecessor: undefined, superseded: [], foreignFirst: [], problems: [] };

test("a missing folder counts as empty", async () => {
  expect(await readConflistFolder(join(folder, "none"), OWN)).toEqual(NOTHING);
});

test("ignores weftd's own file and files that no runtime reads", async () => {
  await write({ [OWN]: OTHER, "00-note.txt": OTHER, ".05-weft.conflist.new": OTHER });
  await mkdir(join(folder, "05-weft.d"));
  expect(await readConflistFolder(folder, OWN)).toEqual(NOTHING);
});

test("names other networks' files that sort before weftd's, and not those after it", async () => {
  await write({ "00-other.conf": OTHER, "04-broken.json": "{", "99-loopback.conf": OTHER });
  expect(await readConflistFolder(folder, OWN)).toEqual({
    ...NOTHING,
    foreignFirst: ["00-other.conf", "04-broken.json"],
  });
});

test("takes flannel's file over, in any sort order, and recognises it after it was disabled", async () => {
  await write({ "00-flannel.conflist": FLANNEL, "10-flannel.conflist": FLANNEL });
  const before = await readConflistFolder(folder, OWN);
  expect(before).toMatchObject({
    predecessor: { file: "00-flannel.conflist", network: "cbr0" },
    superseded: ["00-flannel.conflist", "10-flannel.conflist"],
    foreignFirst: [],
  });
  await disable(folder, before.superseded);
  expect(await readdir(folder)).toEqual(["00-flannel.conflist.weft-disabled", "10-flannel.conflist.weft-disabled"]);
  expect(await readConflistFolder(folder, OWN)).toMatchObject({ predecessor: { network: "cbr0" }, superseded: [] });
});

test("skips and reports a directory or a FIFO with a configuration's name", async () => {
  await mkdir(join(folder, "10-flannel.conflist"));
  execFileSync("mkfifo", [join(folder, "00-fifo.conf")]);
  await write({ "20-flannel.conflist": FLANNEL });
  expect(await readConflistFolder(folder, OWN)).toMatchObject({
    predecessor: { file: "20-flannel.conflist" },
    foreignFirst: [],
    problems: [
      "00-fifo.conf is a FIFO, not a file; some runtimes then load no network at all; move it away",
      "10-flannel.conflist is a directory, not a file; it is ignored",
    ],
  });
});

test("reports a flannel file that cannot be taken over, and leaves it in place", async () => {
  await write({ "10-flannel.conflist": FLANNEL.replace("{}", '{"type":"ipvlan"}') });
  expect(await readConflistFolder(folder, OWN)).toEqual({
    ...NOTHING,
    problems: [expect.stringContaining("ipvlan")],
  });
});
