import { describe, expect, test } from "vitest";
import { parseAddress } from "../ip/address.ts";
import { networkOf, parsePrefix } from "../ip/prefix.ts";
import type { Request } from "../netlink/message.ts";
import { isSameTable } from "../nft/comparison.ts";
import { replaceTable } from "../nft/table.ts";
import { dumpOf } from "../nft/table-dump.ts";
import { nodeMasquerade } from "./masquerade.ts";
import { addPodMasquerade, deletePodMasquerade, type PodMasquerade, podMasquerade } from "./pod-masquerade.ts";

const texts = (requests: readonly Request[]) => requests.map(({ text }) => text);
const node = (podRanges: string[], exempt: string[] = []) =>
  nodeMasquerade({ podRanges: podRanges.map(parsePrefix), exempt: exempt.map(parseAddress) });
const pod = (owner: string, address: string): PodMasquerade => {
  const prefix = parsePrefix(address);
  return { owner, address: prefix.address, subnet: networkOf(prefix) };
};

describe("the node's masquerade", () => {
  test("is one transaction that replaces the table", () => {
    expect(texts(replaceTable(node(["10.244.0.0/16"], ["192.0.2.1"])))).toEqual([
      "nft add table inet weft",
      "nft delete table inet weft",
      "nft add table inet weft",
      "nft add set inet weft pod-ranges4 { type ipv4_addr; flags interval; }",
      "nft add set inet weft exempt4 { type ipv4_addr; }",
      "nft add set inet weft non-masquerade4 { type ipv4_addr; flags interval; }",
      "nft add chain inet weft postrouting { type nat hook postrouting priority 100; policy accept; }",
      "nft create element inet weft pod-ranges4 { 10.244.0.0/16 }",
      "nft create element inet weft exempt4 { 192.0.2.1 }",
      'nft add rule inet weft postrouting meta nfproto ipv4 ip saddr @pod-ranges4 ip daddr != @pod-ranges4 ip daddr != @exempt4 ip daddr != @non-masquerade4 ip daddr != 224.0.0.0/4 counter masquerade fully-random comment "pods to the outside, IPv4"',
    ]);
  });

  test("masquerades configured hosts outside the cluster, only in their families", () => {
    const table = nodeMasquerade({
      ...{ podRanges: [parsePrefix("10.244.0.0/16"), parsePrefix("fd00::/48")], exempt: [] },
      outsideHosts: [parsePrefix("198.51.100.0/24")],
    });
    expect(texts(replaceTable(table)).filter((text) => text.includes("outside-hosts"))).toEqual([
      "nft add set inet weft outside-hosts4 { type ipv4_addr; flags interval; }",
      "nft create element inet weft outside-hosts4 { 198.51.100.0/24 }",
      'nft add rule inet weft postrouting meta nfproto ipv4 ip saddr @outside-hosts4 ip daddr @pod-ranges4 counter masquerade fully-random comment "hosts outside to pods, IPv4"',
    ]);
  });

  test("has the families of the ranges, regardless of exemptions", () => {
    expect(node(["fd00::/48"], ["192.0.2.1"]).sets.map(({ name }) => name)).toEqual([
      "pod-ranges6",
      "exempt6",
      "non-masquerade6",
    ]);
    expect(node([]).chains[0]?.rules).toEqual([]);
  });

  test("has the same rules with and without exempt addresses", () => {
    expect(node(["10.244.0.0/16"]).chains).toEqual(node(["10.244.0.0/16"], ["192.0.2.1"]).chains);
  });

  test("is recognised in any order of its elements", () => {
    const dumped = dumpOf(node(["10.244.0.0/16"], ["192.0.2.1", "192.0.2.2"]));
    expect(isSameTable(node(["10.244.0.0/16"], ["192.0.2.2", "192.0.2.1", "192.0.2.1"]), dumped)).toBe(true);
    expect(isSameTable(node(["10.244.128.0/17", "10.244.0.0/17"], ["192.0.2.2", "192.0.2.1"]), dumped)).toBe(true);
    expect(isSameTable(node(["10.244.0.0/16"], ["192.0.2.1"]), dumped)).toBe(false);
    expect(isSameTable(node(["10.244.0.0/16", "fd00::/48"], ["192.0.2.1", "192.0.2.2"]), dumped)).toBe(false);
  });

  test.each([0, 1, 2, 3, 4, 5, 6, 7])("is not recognised without message %i of its dump", (missing) => {
    const table = node(["10.244.0.0/16"], ["192.0.2.1"]);
    const dumped = dumpOf(table);
    expect(dumped).toHaveLength(8);
    expect(isSameTable(table, dumped)).toBe(true);
    expect(isSameTable(table, dumped.toSpliced(missing, 1))).toBe(false);
  });
});

describe("pods' masquerade", () => {
  const a = pod("cni:net/a/eth0", "10.1.0.2/24");
  const b = pod("cni:net/b/eth0", "10.1.0.3/24");

  test("creates a missing table, and only adds elements to an existing one", () => {
    expect(texts(addPodMasquerade([], [a]))[0]).toBe("nft add table inet weft_masquerade");
    expect(texts(addPodMasquerade(dumpOf(podMasquerade([a])), [b]))).toEqual([
      'nft create element inet weft_masquerade pods4 { 10.1.0.3 comment "cni:net/b/eth0" }',
      'nft create element inet weft_masquerade pod-subnets4 { 10.1.0.3 . 10.1.0.0/24 comment "cni:net/b/eth0" }',
    ]);
  });

  test("assigns an address of an earlier owner in the same transaction", () => {
    const again = pod("cni:net/c/eth0", "10.1.0.2/24");
    expect(texts(addPodMasquerade(dumpOf(podMasquerade([a, b])), [again])).slice(0, 3)).toEqual([
      "nft delete element inet weft_masquerade pods4 (1 of them)",
      "nft delete element inet weft_masquerade pod-subnets4 (1 of them)",
      'nft create element inet weft_masquerade pods4 { 10.1.0.2 comment "cni:net/c/eth0" }',
    ]);
  });

  test("recreates a damaged table with its readable entries", () => {
    const damaged = dumpOf(podMasquerade([a])).slice(0, -1);
    expect(texts(addPodMasquerade(damaged, [b]))).toEqual([
      "nft delete table inet handle 0",
      ...texts(addPodMasquerade([], [a, b])),
    ]);
  });

  test("removes the selected owners' elements, and sends nothing if there are none", () => {
    const dumped = dumpOf(podMasquerade([a, b]));
    expect(texts(deletePodMasquerade(dumped, () => true))).toEqual([
      "nft delete element inet weft_masquerade pods4 (2 of them)",
      "nft delete element inet weft_masquerade pod-subnets4 (2 of them)",
    ]);
    expect(deletePodMasquerade(dumped, () => false)).toEqual([]);
    expect(deletePodMasquerade([], () => true)).toEqual([]);
  });
});
