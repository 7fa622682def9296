import { describe, expect, test } from "vitest";
import { parseAddress } from "../ip/address.ts";
import { networkOf, parsePrefix } from "../ip/prefix.ts";
import { splitDatagram } from "../netlink/message.ts";
import { NFT_MSG_GETSET, NFT_MSG_GETSETELEM } from "../netlink/nftables.ts";
import { accept } from "../nft/expressions.ts";
import { FakeNftables } from "../nft/fake-nftables.ts";
import { addRules, addWholeChain, createTable, flushRulesOf, type Table } from "../nft/table.ts";
import { FakeSystem } from "../sys/fake.ts";
import { type PodMasquerade, podMasquerade } from "../tables/pod-masquerade.ts";
import { addMasquerade } from "./masquerade.ts";

const entry = (owner: string, text: string): PodMasquerade => {
  const prefix = parsePrefix(text);
  return { owner, address: prefix.address, subnet: networkOf(prefix) };
};
const pods = (count: number) =>
  Array.from({ length: count }, (_, at) => entry(`cni:net/p${at}/eth0`, `10.1.${(at >> 8) + 1}.${at & 255}/16`));
const foreign = (chains: number): Table => ({
  ...{ family: "inet", name: "foreign", comment: "of another program", sets: [] },
  chains: Array.from({ length: chains }, (_, at) => ({ name: `chain${at}`, rules: [] })),
});
const OWNER = "cni:net/new/eth0";
const ips = [{ address: parsePrefix("10.1.0.2/16") }];

/** Adds a pod, and returns the types of the messages sent and the number of bytes received. */
function add(nftables: FakeNftables): { readonly types: number[]; readonly received: number } {
  const types: number[] = [];
  let received = 0;
  const system = new FakeSystem({
    netlink(datagram) {
      types.push(...splitDatagram(datagram).map(({ type }) => type));
      const answers = nftables.answer(datagram, 1);
      received += answers.reduce((sum, { length }) => sum + length, 0);
      return answers;
    },
  });
  addMasquerade(system, OWNER, ips);
  expect(system.openCount).toBe(0);
  return { types, received };
}

const elementsOf = (nftables: FakeNftables) => nftables.list().filter((line) => line.includes("10.1.0.2"));

describe("ipMasq adds a pod to an intact table", () => {
  test("with the same requests and bytes for 100 pods and as many foreign chains as for none", () => {
    const [empty, full] = [new FakeNftables(), new FakeNftables()];
    empty.do(...createTable(podMasquerade([])));
    full.do(...createTable(foreign(100)));
    full.do(...createTable(podMasquerade(pods(100))));
    const cost = add(empty);
    expect(add(full)).toEqual(cost);
    expect(cost.types).not.toContain(NFT_MSG_GETSET.type);
    expect(cost.types).not.toContain(NFT_MSG_GETSETELEM.type);
    for (const nftables of [empty, full]) expect(elementsOf(nftables)).toHaveLength(2);
  });
});

const table = podMasquerade(pods(2));
const [chain] = table.chains;
const { stamp: _, ...unstamped } = { ...table };

describe("ipMasq compares the table, and adds the pod to a new one with all entries,", () => {
  test.each<[string, (nftables: FakeNftables) => void]>([
    ["if its rules are missing", (nftables) => nftables.do(flushRulesOf(table, "postrouting"))],
    [
      "if it has another rule",
      (nftables) =>
        nftables.do(
          ...addRules(table, {
            ...{ name: "postrouting", type: "nat", hook: "postrouting", priority: 100 },
            rules: [{ comment: "another", statements: [accept] }],
          }),
        ),
    ],
    ["if it has another chain", (nftables) => nftables.do(...addWholeChain(table, { name: "another", rules: [] }))],
    [
      "if its rules were added again",
      (nftables) => {
        nftables.do(flushRulesOf(table, "postrouting"));
        if (chain !== undefined) nftables.do(...addRules(table, chain));
      },
    ],
  ])("%s", (_, damage) => {
    const nftables = new FakeNftables();
    nftables.do(...createTable(table));
    const wanted = nftables.list();
    damage(nftables);
    const { types } = add(nftables);
    expect(types).toContain(NFT_MSG_GETSETELEM.type);
    expect(nftables.list().filter((line) => !line.includes("10.1.0.2"))).toEqual(wanted);
    expect(elementsOf(nftables)).toHaveLength(2);
    // The new table is intact: the next ADD compares nothing.
    const before = nftables.list().length;
    addOther(nftables);
    expect(nftables.list()).toHaveLength(before + 2);
  });

  test("if it has no stamp", () => {
    const nftables = new FakeNftables();
    nftables.do(...createTable(unstamped));
    const wanted = nftables.list();
    expect(add(nftables).types).toContain(NFT_MSG_GETSETELEM.type);
    expect(nftables.list().filter((line) => !line.includes("10.1.0.2"))).toEqual(wanted);
    expect(elementsOf(nftables)).toHaveLength(2);
    addOther(nftables);
  });

  test("if another attachment has the address", () => {
    const nftables = new FakeNftables();
    nftables.do(...createTable(podMasquerade([...pods(2), entry("cni:net/stale/eth0", "10.1.0.2/16")])));
    expect(add(nftables).types).toContain(NFT_MSG_GETSETELEM.type);
    expect(elementsOf(nftables).join()).not.toContain("stale");
    expect(elementsOf(nftables)).toHaveLength(2);
  });
});

/** Adds another pod by the stamp alone. */
function addOther(nftables: FakeNftables): void {
  const types: number[] = [];
  const system = new FakeSystem({
    netlink(datagram) {
      types.push(...splitDatagram(datagram).map(({ type }) => type));
      return nftables.answer(datagram, 1);
    },
  });
  addMasquerade(system, "cni:net/other/eth0", [{ address: { address: parseAddress("10.1.0.3"), length: 16 } }]);
  expect(types).not.toContain(NFT_MSG_GETSETELEM.type);
}
