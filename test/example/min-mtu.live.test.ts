/** The plugin of docs/writing-a-plugin.md: built by the guide's command, and called after bridge. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { PluginBed } from "../live/harness/plugin-bed.ts";

let bed: PluginBed;
let bin = "";
beforeAll(async () => {
  bin = mkdtempSync(join(tmpdir(), "weft-example-"));
  execFileSync("npm", ["run", "build", "--", "--out", bin, "test/example/min-mtu"], { stdio: "pipe" });
  bed = await PluginBed.make();
});
afterAll(async () => {
  rmSync(bin, { recursive: true, force: true });
  await bed.close();
});

const base = { cniVersion: "1.1.0", name: "net" };
const bridge = {
  ...base,
  type: "bridge",
  mtu: 1400,
  ipam: { type: "host-local", ranges: [[{ subnet: "10.22.0.0/24" }]] },
};

test("accepts a pod whose interface is large enough, rejects another, and answers VERSION", async () => {
  const added = await bed.call(bin, "bridge", "ADD", bridge);
  const ask = (verb: string, minMtu: number) =>
    bed.call(bin, "min-mtu", verb, { ...base, type: "min-mtu", minMtu, prevResult: added.json });
  const { ips } = added.json;
  expect(await ask("ADD", 1400)).toMatchObject({ status: 0, json: { ips } });
  expect(await ask("CHECK", 1400)).toMatchObject({ status: 0, output: "" });
  expect(await ask("ADD", 1401)).toMatchObject({
    ...{
      status: 1,
      json: { code: 7, msg: expect.stringMatching(/eth0 .* has an MTU of 1400: expected at least 1401/) },
    },
  });
  expect(await ask("DEL", 1400)).toMatchObject({ status: 0, output: "" });
  expect(await bed.call(bin, "bridge", "DEL", bridge)).toMatchObject({ status: 0 });
  expect(await bed.call(bin, "min-mtu", "VERSION", "")).toMatchObject({ status: 0, json: { cniVersion: "1.1.0" } });
});
