/**
 * The image's root file system for arm64: its programs start on an emulated arm64 processor, and all its files are for
 * arm64.
 */
import { readdirSync, readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ARM64 } from "../../hack/compile/target.ts";
import { LAYERS, makeRoot } from "../../hack/imaging/root.ts";
import { Cleanup } from "../live/harness/cleanup.ts";
import { succeed } from "../live/harness/command.ts";
import { makeFolder } from "../live/harness/folder.ts";

/** e_machine of the ELF header (elf.h). */
const EM_AARCH64 = 183;
const cleanup = new Cleanup();
let root: string;

beforeAll(async () => {
  const folder = makeFolder("root", cleanup);
  makeRoot(ARM64, folder);
  root = `${folder}/all`;
  for (const layer of LAYERS) await succeed("cp", ["-a", `${folder}/${layer}/.`, root]);
});

afterAll(() => cleanup.run());

/** Searches libraries in the root file system only. */
function emulated(...command: readonly string[]): Promise<string> {
  const [emulator = ""] = ARM64.emulator;
  return succeed(emulator, ["-L", root, `${root}${command[0]}`, ...command.slice(1)]);
}

test.each([
  ["weftd", ["/opt/weft/bin/node", "LIB/weftd.cjs", "--help"], /^Usage: weftd \[options\]/],
  ["its addon", ["/opt/weft/bin/node", "-p", 'Object.keys(require("LIB/netlink.node")).length > 0'], /^true$/m],
  ["weft", ["/opt/weft/bin/weft", "install", "--help"], /^Usage: weft install/],
  ["iptables-legacy", ["/usr/sbin/iptables-legacy", "--version"], /\(legacy\)/],
])("%s starts", async (_what, command, said) => {
  const words = command.map((word) => word.replace("LIB", `${root}/opt/weft/lib`));
  expect(await emulated(...words)).toMatch(said);
});

test("it contains no file for another processor", () => {
  const machines = readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => readFileSync(`${entry.parentPath}/${entry.name}`).subarray(0, 20))
    .filter((head) => head.subarray(0, 4).toString("latin1") === "\x7fELF")
    .map((head) => head.readUInt16LE(18));
  expect(new Set(machines)).toEqual(new Set([EM_AARCH64]));
  expect(machines.length).toBeGreaterThan(100);
});
