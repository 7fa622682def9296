/**
 * The nf_tables tables of bridge and firewall on a real kernel, read back by nft: ADD adds single elements to an intact
 * table, and repairs a table that another program has changed, or that has no stamp.
 */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { OURS, PluginBed } from "./harness/plugin-bed.ts";

let bed: PluginBed;
beforeEach(async () => {
  bed = await PluginBed.make();
});
afterEach(() => bed.close());

const BRIDGE = {
  ...{ cniVersion: "1.1.0", name: "net", type: "bridge", bridge: "cni0", isGateway: true },
  ...{ ipMasq: true, macspoofchk: true, guardSenders: true },
  ipam: { type: "host-local", ranges: [[{ subnet: "10.22.0.0/24" }], [{ subnet: "fd00:22::/64" }]] },
};
const FIREWALL = { cniVersion: "1.1.0", name: "net", type: "firewall", backend: "nftables" };

interface Pod {
  readonly add: () => Promise<void>;
  readonly del: () => Promise<void>;
}

/** A pod with a call of bridge and then of firewall. */
async function podNamed(label: string): Promise<Pod> {
  const { namespace } = await bed.anotherPod(label);
  const options = { containerId: label, netns: namespace.path };
  let prevResult: unknown;
  const call = async (verb: string, configuration: { readonly type: string }) => {
    const input = prevResult === undefined ? configuration : { ...configuration, prevResult };
    const { status, json, output } = await bed.call(OURS, configuration.type, verb, input, options);
    expect([verb, configuration.type, status, output]).toEqual([verb, configuration.type, 0, output]);
    return json;
  };
  return {
    async add() {
      prevResult = undefined;
      prevResult = await call("ADD", BRIDGE);
      await call("ADD", FIREWALL);
      await call("CHECK", BRIDGE);
      await call("CHECK", FIREWALL);
    },
    async del() {
      await call("DEL", FIREWALL);
      await call("DEL", BRIDGE);
    },
  };
}

const nft = (...words: string[]) => bed.node.succeed("nft", words);
async function load(text: string): Promise<void> {
  const { status, stderr } = await bed.node.run("nft", ["-f", "-"], text);
  expect([status, stderr]).toEqual([0, ""]);
}
/** A table as nft lists it, without counters and the addresses and ports of pods. */
async function tableOf(family: string, name: string): Promise<string> {
  const text = await nft("-s", "list", "table", family, name);
  return text.replace(/elements = \{[^}]*\}\n/g, "");
}
/** The number of elements with a pod's mark. */
const marks = async (label: string) => (await nft("list", "ruleset")).split(`/${label}/eth0"`).length - 1;
/** The handles of a table and of all objects in it. */
async function handles(family: string, name: string): Promise<string> {
  return (await nft("-s", "-a", "list", "table", family, name)).replace(/elements = \{[^}]*\}\n/g, "");
}

const TABLES = [
  { family: "inet", name: "weft_masquerade", chain: "postrouting" },
  { family: "bridge", name: "weft_macspoof", chain: "prerouting" },
  { family: "inet", name: "weft_firewall", chain: "forward" },
] as const;

test("ADDs and DELs leave the tables themselves unchanged, and DEL leaves no elements", async () => {
  const pods = await Promise.all(["a", "b", "c"].map(podNamed));
  const [first, ...rest] = pods;
  await first?.add();
  const before = await Promise.all(TABLES.map(({ family, name }) => handles(family, name)));
  for (const pod of rest) await pod.add();
  expect(await marks("b")).toBe(await marks("a"));
  for (const pod of rest) await pod.del();
  expect(await Promise.all(TABLES.map(({ family, name }) => handles(family, name)))).toEqual(before);
  expect(await marks("b")).toBe(0);
  await first?.del();
  expect(await marks("a")).toBe(0);
});

describe.each(TABLES)("table $family $name", ({ family, name, chain }) => {
  test.each<[string, () => Promise<unknown>]>([
    ["has lost its rules", () => nft("flush", "chain", family, name, chain)],
    ["has another rule", () => nft("insert", "rule", family, name, chain, "counter")],
    ["has another set", () => nft("add", "set", family, name, "another", "{ type ether_addr; }")],
    [
      "was restored from nft's list, without a stamp",
      async () => {
        const text = await nft("list", "table", family, name);
        await nft("delete", "table", family, name);
        await load(text);
      },
    ],
    ["is gone", () => nft("delete", "table", family, name)],
  ])("that %s is repaired by the next ADD", async (what, damage) => {
    const [first, second, third] = await Promise.all(["a", "b", "c"].map(podNamed));
    await first?.add();
    const wanted = await tableOf(family, name);
    const ofFirst = await marks("a");
    await damage();
    await second?.add();
    expect(await tableOf(family, name)).toBe(wanted);
    if (what !== "is gone") expect(await marks("a")).toBe(ofFirst);
    expect(await marks("b")).toBe(ofFirst);
    // The repaired table is intact: the next ADD does not replace it.
    const repaired = await handles(family, name);
    await third?.add();
    expect(await handles(family, name)).toBe(repaired);
  });
});

test("5,000 chains of another program stay, and do not hide or delay elements", async () => {
  const chains = Array.from({ length: 5000 }, (_, at) => `chain service-${at} { counter; }`).join("\n");
  await load(`table inet foreign {\n${chains}\nchain forwarded { type filter hook forward priority 0; }\n}\n`);
  const [first, second] = await Promise.all(["a", "b"].map(podNamed));
  await first?.add();
  await second?.add();
  expect(await marks("b")).toBe(await marks("a"));
  await second?.del();
  expect(await marks("b")).toBe(0);
  expect((await nft("list", "table", "inet", "foreign")).split("chain service-")).toHaveLength(5001);
});
