import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { parseSubnet } from "../../../pkg/ip/prefix.ts";
import { parsePredecessor } from "../../sources/predecessor.ts";
import { countAddresses, reservationsFolder } from "./address-use.ts";

const subnets = [parseSubnet("10.244.1.0/24"), parseSubnet("fd00:1::/64")];
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "weft-networks-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

test("counts reservations by subnet, without host-local's other files", async () => {
  for (const name of ["10.244.1.2", "10.244.1.254", "10.9.9.9", "fd00:1::2", "lock", "last_reserved_ip.0", ".weft"])
    writeFileSync(join(folder, name), "");
  expect(await countAddresses(folder, subnets)).toEqual([
    { subnet: "10.244.1.0/24", used: 2, capacity: 253 },
    { subnet: "fd00:1::/64", used: 1, capacity: 2 ** 64 - 2 },
  ]);
});

test("a missing folder yields no counts", async () => {
  expect(await countAddresses(join(folder, "none"), subnets)).toEqual([]);
});

test("the folder is named after the network, in the data directory of flannel's conflist", () => {
  expect(reservationsFolder(undefined)).toBe("/var/lib/cni/networks/cbr0");
  const text = JSON.stringify({ name: "podnet", plugins: [{ type: "flannel", ipam: { dataDir: "/data" } }] });
  const predecessor = parsePredecessor("10-flannel.conflist", text);
  expect(typeof predecessor === "object" && reservationsFolder(predecessor)).toBe("/data/podnet");
});
