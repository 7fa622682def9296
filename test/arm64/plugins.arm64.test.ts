/**
 * The executables built for arm64 under qemu-user: calls without namespaces, since this emulator does not support
 * nsfs's ioctls. `hack/test vm --arch arm64` runs these and all other live tests on a real kernel.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ARM64 } from "../../hack/compile/target.ts";

const BIN = `${ARM64.dist}/bin`;
const PLUGINS = readdirSync(BIN).filter((name) => name !== "weft" && name !== "weftd");
const [EMULATOR = ""] = ARM64.emulator;

interface Answer {
  readonly status: number | null;
  // biome-ignore lint/suspicious/noExplicitAny: results and errors, which tests pick apart
  readonly json: any;
}

/** `pageBytes` is the machine's page size that the emulator reports. */
function call(plugin: string, verb: string, input: unknown, pageBytes = 4096): Answer {
  const { status, stdout } = spawnSync(EMULATOR, ["-p", String(pageBytes), "-0", plugin, `${BIN}/${plugin}`], {
    input: JSON.stringify(input),
    encoding: "utf8",
    env: {
      CNI_COMMAND: verb,
      CNI_CONTAINERID: "c1",
      CNI_NETNS: "/run/netns/weft-none",
      CNI_IFNAME: "eth0",
      CNI_PATH: BIN,
    },
  });
  return { status, json: stdout === "" ? undefined : JSON.parse(stdout) };
}

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(`${tmpdir()}/weft-arm64-`);
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe.each(PLUGINS)("%s", (plugin) => {
  test.each([4096, 16384, 65536])("answers VERSION with pages of %d bytes", (pageBytes) => {
    const answer = call(plugin, "VERSION", { cniVersion: "1.1.0" }, pageBytes);
    expect(answer).toMatchObject({ status: 0, json: { supportedVersions: expect.arrayContaining(["1.1.0"]) } });
  });

  test("rejects an unknown version", () => {
    const answer = call(plugin, "ADD", { cniVersion: "9.9.9", name: "net", type: plugin });
    expect(answer).toMatchObject({ status: 1, json: { code: 1, msg: expect.stringContaining("9.9.9") } });
  });
});

test("host-local reserves, checks and frees addresses of both families", () => {
  const conf = {
    cniVersion: "1.1.0",
    name: "net",
    type: "bridge",
    ipam: {
      type: "host-local",
      dataDir: folder,
      ranges: [[{ subnet: "10.22.0.0/24" }], [{ subnet: "fd00:22::/64" }]],
    },
  };
  const added = call("host-local", "ADD", conf);
  expect(added).toMatchObject({
    status: 0,
    json: { ips: [{ address: "10.22.0.2/24" }, { address: "fd00:22::2/64" }] },
  });
  expect(readdirSync(`${folder}/net`)).toEqual(expect.arrayContaining(["10.22.0.2", "fd00:22::2"]));
  expect(call("host-local", "CHECK", { ...conf, prevResult: added.json })).toMatchObject({ status: 0 });
  expect(call("host-local", "DEL", conf)).toMatchObject({ status: 0 });
  expect(call("host-local", "CHECK", { ...conf, prevResult: added.json })).toMatchObject({ status: 1 });
  expect(readdirSync(`${folder}/net`).filter((name) => /[.:]/.test(name) && !name.includes("last"))).toEqual([]);
});

/** readelf's line: LOAD, offset, address, physical address, size in the file, size in memory, flags, alignment. */
function segments(): { from: number; to: number; alignment: number }[] {
  const text = execFileSync("readelf", ["-lW", `${BIN}/weft`], { encoding: "utf8" });
  return text
    .split("\n")
    .map((line) => line.trim().split(/\s+/))
    .filter(([kind]) => kind === "LOAD")
    .map((words) => {
      const from = Number(words[2]);
      return { from, to: from + Number(words[5]), alignment: Number(words.at(-1)) };
    });
}

test("on kernels with pages of 64 KiB, no two segments share a page", () => {
  const page = 65536;
  const found = segments();
  expect(found.length).toBeGreaterThan(1);
  for (const { alignment } of found) expect(alignment % page).toBe(0);
  const pages = found.flatMap(({ from, to }) => [Math.floor(from / page), Math.floor((to - 1) / page)]);
  expect(pages).toEqual(pages.toSorted((a, b) => a - b));
  for (let at = 2; at < pages.length; at += 2) expect(pages[at]).toBeGreaterThan(pages[at - 1] ?? 0);
});
