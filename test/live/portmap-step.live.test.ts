/**
 * `portmap` on the node's table: which tables ADD works on by key, and which it makes again. The handle of the table
 * shows whether it was made again.
 */
import { afterEach, beforeEach, expect, test } from "vitest";
import { FAMILIES, HOST_PORT, mapping, OUTSIDE, PortBed, portmap, UPLINK } from "./harness/port-bed.ts";

const TABLE = "inet weft_portmap";
/** The result of another pod, whose addresses end with this number. */
const resultOf = (at: number) => ({
  cniVersion: "1.1.0",
  ips: [{ address: `10.22.0.${at}/24` }, { address: `fd00:22::${at}/64` }],
});

let ports: PortBed;
beforeEach(async () => {
  ports = await PortBed.make();
});
afterEach(() => ports.close());

const nft = (...text: string[]) => ports.bed.node.succeed("nft", text);

async function handle(): Promise<number | undefined> {
  const { nftables } = JSON.parse(await nft("-j", "list", "tables")) as {
    nftables: { table?: { name: string; handle: number } }[];
  };
  return nftables.find(({ table }) => table?.name === "weft_portmap")?.table?.handle;
}

/** Maps another pod's port, and returns whether ADD made the table again. */
async function another(hostPort: number, containerId = "c2"): Promise<boolean> {
  const before = await handle();
  const input = portmap([mapping("tcp", { hostPort })], resultOf(hostPort));
  const added = await ports.call("ADD", input, { containerId });
  expect(added).toMatchObject({ status: 0 });
  return (await handle()) !== before;
}

/** The first pod's port answers, and all of its elements and the other pod's are there. */
async function works(previous: unknown): Promise<void> {
  for (const of of FAMILIES) expect(await ports.outside.seenBy(UPLINK[of], HOST_PORT)).toBe(OUTSIDE[of]);
  expect(await ports.call("CHECK", portmap([mapping("tcp")], previous))).toMatchObject({ status: 0 });
}

async function serve(): Promise<unknown> {
  const { json } = await ports.attach([mapping("tcp")]);
  await ports.bed.pod.listen(80);
  return json;
}

test("ADD and DEL of another pod leave the table as it is", async () => {
  const previous = await serve();
  const before = await nft("list", "ruleset");
  expect(await another(31)).toBe(false);
  await works(previous);
  const input = portmap([mapping("tcp", { hostPort: 31 })], resultOf(31));
  expect(await ports.call("DEL", input, { containerId: "c2" })).toMatchObject({ status: 0 });
  expect(withoutCounters(await nft("list", "ruleset"))).toBe(withoutCounters(before));
  await works(previous);
});

test.each<[string, (text: string) => string]>([
  ["no stamp", (text) => text],
  ["the layout of an earlier version", (text) => text.replace(/\tset (owners|pods[46]) \{.*?\n\t\}\n/gs, "")],
])("a table with %s is made again with all ports, once", async (_, change) => {
  const previous = await serve();
  const text = change(await nft("list", "table", ...TABLE.split(" ")));
  await nft(`delete table ${TABLE}`);
  await ports.bed.node.succeed("sh", ["-c", 'printf "%s" "$0" | nft -f -', text]);
  expect(await another(32)).toBe(true);
  expect(await another(33, "c3")).toBe(false);
  await works(previous);
});

test.each([
  ["a deleted rule", "flush chain TABLE mark-13"],
  ["deleted rules", "flush table TABLE"],
  ["a deleted chain", "flush chain TABLE loopback; delete chain TABLE loopback"],
  ["a deleted set", "delete set TABLE owners"],
  ["a deleted map", "flush chain TABLE translate; delete map TABLE address-ports4"],
  ["an additional rule", "insert rule TABLE translate drop"],
  ["an additional chain", "add chain TABLE other"],
])("%s: ADD of another pod makes the table again with all ports", async (_, damage) => {
  const previous = await serve();
  await nft(damage.replaceAll("TABLE", TABLE));
  expect(await another(34)).toBe(true);
  await works(previous);
  expect(await another(35, "c3")).toBe(false);
});

test("deleted elements: ADD of the same pod adds them again, and DEL removes what is left", async () => {
  const previous = await serve();
  for (const set of ["owners", "pods4", "masquerade4", "ports6"]) {
    await nft(`flush ${set.startsWith("o") || set.startsWith("pods") ? "set" : "map"} ${TABLE} ${set}`);
    expect((await ports.call("CHECK", portmap([mapping("tcp")], previous))).json.msg).toContain(`${set} is missing`);
    expect(await ports.call("ADD", portmap([mapping("tcp")], previous))).toMatchObject({ status: 0 });
    await works(previous);
  }
  await nft(`flush map ${TABLE} ports4`);
  expect(await ports.call("DEL", portmap([mapping("tcp")], previous))).toMatchObject({ status: 0 });
  expect(await ports.elements()).toEqual([]);
});

const withoutCounters = (text: string) => text.replace(/packets \d+ bytes \d+/g, "");
