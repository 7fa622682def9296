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

test("a folder that is not there is empty", async () => {
  expect(await readConflistFolder(join(folder, "none"), OWN)).toEqual(NOTHING);
});

test("our own file, and what no runtime reads, count for nothing", async () => {
  await write({ [OWN]: OTHER, "00-note.txt": OTHER, ".05-weft.conflist.new": OTHER });
  await mkdir(join(folder, "05-weft.d"));
  expect(await readConflistFolder(folder, OWN)).toEqual(NOTHING);
});

test("others' files that sort before ours are named, those behind are not", async () => {
  await write({ "00-other.conf": OTHER, "04-broken.json": "{", "99-loopback.conf": OTHER });
  expect(await readConflistFolder(folder, OWN)).toEqual({
    ...NOTHING,
    foreignFirst: ["00-other.conf", "04-broken.json"],
  });
});

test("flannel's file is taken over, whichever way it sorts, and known when it is out of use", async () => {
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

test("a folder or a FIFO of a configuration's name is passed over and named", async () => {
  await mkdir(join(folder, "10-flannel.conflist"));
  execFileSync("mkfifo", [join(folder, "00-fifo.conf")]);
  await write({ "20-flannel.conflist": FLANNEL });
  expect(await readConflistFolder(folder, OWN)).toMatchObject({
    predecessor: { file: "20-flannel.conflist" },
    foreignFirst: [],
    problems: [
      "00-fifo.conf is a FIFO, no file: some runtimes load no network then; move it away",
      "10-flannel.conflist is a directory, no file: it is passed over",
    ],
  });
});

test("what is flannel's and cannot be taken over is a problem, and stays", async () => {
  await write({ "10-flannel.conflist": FLANNEL.replace("{}", '{"type":"ipvlan"}') });
  expect(await readConflistFolder(folder, OWN)).toEqual({
    ...NOTHING,
    problems: [expect.stringContaining("ipvlan")],
  });
});
