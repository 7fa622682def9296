import { expect, test } from "vitest";
import { addressToBytes, parseAddress } from "../ip/address.ts";
import { parsePrefix } from "../ip/prefix.ts";
import { NFPROTO } from "../netlink/nftables.ts";
import type { NftRule } from "../nft/ruleset.ts";
import { nftScript } from "./reference-nftables.ts";
import type { ReferenceMasquerade, ReferencePorts, ReferenceSpoofCheck } from "./reference-state.ts";

const attachment = { network: "net", containerId: "c1", ifName: "eth0" };
const ports: ReferencePorts = {
  ...{ part: "portmap", attachment, backend: "nftables" },
  addresses: [parsePrefix("10.22.0.2/24"), parsePrefix("fd00:22::2/64")],
  ...{ snat: true, masqAll: false, markBit: 13, setMarkChain: undefined, conditions: { 4: [], 6: [] } },
  ports: [
    { protocol: "tcp", hostPort: 8080, containerPort: 80, hostAddress: undefined },
    { protocol: "udp", hostPort: 53, containerPort: 53, hostAddress: parseAddress("10.1.1.1") },
  ],
};
const linesOf = (text: string) => text.trimEnd().split("\n");
const rule = (table: string, family: number, chain: string, comment: string, address?: string): NftRule => ({
  ...{ family, table, chain, handle: 7n, comment },
  expressions:
    address === undefined
      ? []
      : [{ kind: "immediate", data: { data: { value: addressToBytes(parseAddress(address)) } } }],
});

test("masquerade has one rule for each address with the comment of the reference 1.9.1", () => {
  const state: ReferenceMasquerade = {
    part: "masquerade",
    attachment,
    backend: "nftables",
    addresses: ports.addresses,
  };
  expect(linesOf(nftScript([], [state])).slice(-2)).toEqual([
    'add rule inet cni_plugins_masquerade masq_checks ip saddr 10.22.0.2 ip daddr != 10.22.0.0/24 masquerade comment "a4861f4ae9f7d238-f4d01f2ef4b92245, net: net, if: eth0, id: c1"',
    'add rule inet cni_plugins_masquerade masq_checks ip6 saddr fd00:22::2 ip6 daddr != fd00:22::/64 masquerade comment "a4861f4ae9f7d238-f4d01f2ef4b92245, net: net, if: eth0, id: c1"',
  ]);
});

test("writes nothing for the iptables backend", () => {
  expect(nftScript([], [{ ...ports, backend: "iptables" }])).toBe("");
});

test("a port with an address is only in that address's family", () => {
  const added = linesOf(nftScript([], [ports])).filter((line) => line.includes(" hostports "));
  expect(added.filter((line) => line.startsWith("add rule"))).toEqual([
    'add rule ip cni_hostport hostports tcp dport 8080 dnat to 10.22.0.2:80 comment "c1"',
    'add rule ip cni_hostport hostports ip daddr 10.1.1.1 udp dport 53 dnat to 10.22.0.2:53 comment "c1"',
    'add rule ip6 cni_hostport hostports tcp dport 8080 dnat to [fd00:22::2]:80 comment "c1"',
  ]);
});

test("keeps rules of the container's other network and replaces its own", () => {
  const seen = [
    rule("cni_hostport", NFPROTO.ip, "hostports", "c1", "10.22.0.2"),
    { ...rule("cni_hostport", NFPROTO.ip, "hostports", "c1", "10.99.0.2"), handle: 8n },
  ];
  const deleted = linesOf(nftScript(seen, [ports])).filter((line) => line.startsWith("delete"));
  expect(deleted).toEqual(["delete rule ip cni_hostport hostports handle 7"]);
});

test("conditions precede all ports; without conditions, existing ones are kept", () => {
  const seen = [rule("cni_hostport", NFPROTO.ip, "prerouting", "")];
  const entries = (state: ReferencePorts) =>
    linesOf(nftScript(seen, [state])).filter((line) => /(flush chain|add rule) ip cni_hostport prerouting/.test(line));
  expect(entries(ports)).toEqual([]);
  expect(entries({ ...ports, conditions: { 4: ["ip", "saddr", "10.0.0.0/8"], 6: [] } })).toEqual([
    "flush chain ip cni_hostport prerouting",
    "add rule ip cni_hostport prerouting ip saddr 10.0.0.0/8 fib daddr type local jump hostports_all",
  ]);
});

test("the spoof check replaces an earlier one of the same pod", () => {
  const state: ReferenceSpoofCheck = { part: "spoof-check", attachment, port: "veth1", mac: "02:00:00:00:00:01" };
  const seen = [
    rule("nat", NFPROTO.bridge, "PREROUTING", "macspoofchk-c1-eth0"),
    rule("nat", NFPROTO.bridge, "PREROUTING", "x"),
  ];
  const lines = linesOf(nftScript(seen, [state]));
  expect(lines.filter((line) => line.startsWith("delete"))).toEqual(["delete rule bridge nat PREROUTING handle 7"]);
  expect(lines.slice(-2)).toEqual([
    'add rule bridge nat cni-br-iface-c1-eth0-mac ether saddr 02:00:00:00:00:01 return comment "macspoofchk-c1-eth0"',
    'add rule bridge nat cni-br-iface-c1-eth0-mac drop comment "macspoofchk-c1-eth0"',
  ]);
});
