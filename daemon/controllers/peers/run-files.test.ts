import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { LocalNode, Peer } from "../../../pkg/backend/node.ts";
import { parseNodeTable, parseStamp } from "../../../pkg/backend/node-table.ts";
import { STAMP_FILE, TABLE_FILE } from "../../../pkg/footprint.ts";
import { parseAddress } from "../../../pkg/ip/address.ts";
import { parseSubnet } from "../../../pkg/ip/prefix.ts";
import { BOOT_ID_FILE } from "../../../pkg/sys/boot.ts";
import { RunFiles, type StampContent, type TableContent } from "./run-files.ts";

const node: LocalNode = {
  name: "n1",
  subnets: [parseSubnet("10.244.1.0/24")],
  underlay: { index: 2, mtu: 1500, local: { 4: parseAddress("192.0.2.1") }, networks: [parseSubnet("192.0.2.0/24")] },
};
const peer: Peer = {
  name: "n2",
  subnets: [parseSubnet("10.244.2.0/24")],
  addresses: [parseAddress("192.0.2.2")],
  backendType: "host-gw",
};
const netConf = '{"Network":"10.244.0.0/16","Backend":{"Type":"host-gw"}}';
const deviceMacs = new Map([["flannel.1", "0a:00:00:00:00:01"]]);
const content: TableContent = { netConf, node, deviceMacs, peers: [peer], formerSubnets: [] };
const served: StampContent = { backend: "host-gw", devices: ["eth0"] };

/** Writes table and stamp as a pass does. True if the table was replaced. */
async function write(files: RunFiles, table: TableContent): Promise<boolean> {
  const isReplaced = await files.writeTable(table);
  await files.writeStamp(served);
  return isReplaced;
}

let directory = "";
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "weftd-run-"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const bytes = (name: string) => new Uint8Array(readFileSync(join(directory, name)));
const table = () => parseNodeTable(bytes(TABLE_FILE));
const stamp = () => parseStamp(bytes(STAMP_FILE));

test("the first table of a boot has generation 1, and so has the stamp", async () => {
  expect(await write(await RunFiles.open(directory), content)).toBe(true);
  const bootId = readFileSync(BOOT_ID_FILE, "utf8").trim();
  expect(table()).toMatchObject({ bootId, generation: 1, netConf, peers: [peer] });
  expect(stamp()).toEqual({ bootId, generation: 1, backend: "host-gw", devices: ["eth0"] });
});

test("the generation counts changes, across restarts too", async () => {
  const first = await RunFiles.open(directory);
  await write(first, content);
  expect(await write(first, { ...content, peers: [] })).toBe(true);
  const second = await RunFiles.open(directory);
  expect(await write(second, { ...content, peers: [] })).toBe(false);
  expect([table().generation, stamp().generation]).toEqual([2, 2]);
  await write(second, content);
  expect([table().generation, stamp().generation]).toEqual([3, 3]);
});

test("unchanged files are not written", async () => {
  const files = await RunFiles.open(directory);
  await write(files, content);
  const inodes = () => [TABLE_FILE, STAMP_FILE].map((name) => statSync(join(directory, name)).ino);
  const before = inodes();
  await write(files, { ...content });
  expect(inodes()).toEqual(before);
});

test("this node's VTEPs are remembered across restarts", async () => {
  const files = await RunFiles.open(directory);
  expect(files.deviceMacs).toEqual(new Map());
  await write(files, content);
  expect(files.deviceMacs).toEqual(deviceMacs);
  expect((await RunFiles.open(directory)).deviceMacs).toEqual(deviceMacs);
});

test("the subnets of an earlier weftd are remembered", async () => {
  const files = await RunFiles.open(directory);
  expect(files.knownSubnets).toEqual([]);
  await write(files, { ...content, formerSubnets: [parseSubnet("10.244.9.0/24")] });
  const known = (await RunFiles.open(directory)).knownSubnets;
  expect(known).toEqual([parseSubnet("10.244.9.0/24"), ...content.node.subnets]);
});

test("a removed table is written again with a new generation", async () => {
  const files = await RunFiles.open(directory);
  await write(files, content);
  rmSync(join(directory, TABLE_FILE));
  await write(files, content);
  expect([table().generation, stamp().generation]).toEqual([2, 2]);
});

test("if a table cannot be written, the stamp keeps the generation of the existing one", async () => {
  const files = await RunFiles.open(directory);
  await write(files, content);
  const path = join(directory, TABLE_FILE);
  renameSync(path, `${path}.kept`);
  mkdirSync(path);
  await expect(files.writeTable({ ...content, peers: [] })).rejects.toThrow(/EISDIR|ENOTEMPTY|directory/);
  await files.writeStamp(served);
  expect(stamp().generation).toBe(1);
});

test.each([
  ["of another boot", (text: string) => text.replace(/"bootId":"[^"]*"/, '"bootId":"another"')],
  ["of an unknown format", (text: string) => text.replace('"format":1', '"format":99')],
  ["that is cut off", (text: string) => text.slice(0, 40)],
])("a table %s is overwritten", async (_name, damage) => {
  await write(await RunFiles.open(directory), content);
  writeFileSync(join(directory, TABLE_FILE), damage(readFileSync(join(directory, TABLE_FILE), "utf8")));
  expect(await write(await RunFiles.open(directory), content)).toBe(true);
  expect(table().peers).toEqual([peer]);
});
