import { expect, test } from "vitest";
import { runPlugin } from "../../pkg/cni/loop.ts";
import { networkOf, parsePrefix } from "../../pkg/ip/prefix.ts";
import { FakeKernel } from "../../pkg/kernel/fake-kernel.ts";
import { changeLink, createVeth } from "../../pkg/kernel/link.ts";
import { RTM_DELLINK, RTM_NEWLINK } from "../../pkg/netlink/bridge-vlan.ts";
import { ByteWriter } from "../../pkg/netlink/bytes.ts";
import { NETLINK_NETFILTER, type Request, splitDatagram, writeRequest } from "../../pkg/netlink/message.ts";
import { NFT_MSG_DELSETELEM, NFT_MSG_GETSETELEM } from "../../pkg/netlink/nftables.ts";
import { FakeNftables } from "../../pkg/nft/fake-nftables.ts";
import { createTable, deleteFromSet } from "../../pkg/nft/table.ts";
import { FakeSystem } from "../../pkg/sys/fake.ts";
import { FakeFiles } from "../../pkg/sys/fake-files.ts";
import { macSpoofTable } from "../../pkg/tables/mac-spoof.ts";
import { podMasquerade } from "../../pkg/tables/pod-masquerade.ts";
import { type GuardedSender, sendersTable } from "../../pkg/tables/senders-table.ts";
import { plugin as hostLocal } from "../host-local/main.ts";
import { plugin as bridge } from "./main.ts";

const BIN = "/opt/cni/bin";
const RESERVATION = "/var/lib/cni/networks/net/10.22.0.2";
const OWNER = "cni:net/c1/eth0";
const PORT = "veth00000001";
const MAC = "02:00:00:00:00:01";

const sender = (owner: string, port: string, address: string, mac: string): GuardedSender[] => [
  { family: "bridge", owner, port, mac, addresses: [parsePrefix(address).address], asksDhcp: false },
  { family: "inet", owner, port, mac: undefined, addresses: [], asksDhcp: false },
];

/** The elements of the attachment `owner` and of another one. */
function tablesOf(owner: string): Request[] {
  const entry = (of: string, text: string) => {
    const prefix = parsePrefix(text);
    return { owner: of, address: prefix.address, subnet: networkOf(prefix) };
  };
  const other = "cni:net/c2/eth0";
  const senders = [
    ...sender(OWNER, PORT, "10.22.0.2/24", MAC),
    ...sender(other, "veth00000002", "10.22.0.3/24", "02:00:00:00:00:02"),
  ];
  return [
    ...createTable(podMasquerade([entry(owner, "10.22.0.2/24"), entry(other, "10.22.0.3/24")])),
    ...createTable(
      macSpoofTable([
        { owner: OWNER, port: PORT, mac: MAC },
        { owner: other, port: "veth00000002", mac: "02:00:00:00:00:02" },
      ]),
    ),
    ...createTable(sendersTable("bridge", senders)),
    ...createTable(sendersTable("inet", senders)),
  ];
}

/** Runs DEL, and returns the steps in their order. */
function del({ alias = OWNER, masqueradeOwner = OWNER, damage = [] as Request[] } = {}) {
  const files = new FakeFiles();
  files.makeDirectory("/var/lib/cni/networks/net");
  files.writeFile(RESERVATION, new TextEncoder().encode("c1\r\neth0"));
  files.makeDirectory(BIN);
  for (const name of ["bridge", "host-local"]) files.writeFile(`${BIN}/${name}`, new Uint8Array());
  const kernel = new FakeKernel();
  const writer = new ByteWriter();
  const pair = { name: PORT, mac: "02:00:00:00:00:0a", peer: { name: "peer0", mac: MAC, mtu: 1500, namespaceFd: 3 } };
  [createVeth({ ...pair, mtu: 1500, isDown: false }), changeLink(PORT, { alias })].forEach((item, at) => {
    writeRequest(writer, item, at + 1, 0);
  });
  kernel.answer(writer.finish());
  const nftables = new FakeNftables();
  nftables.do(...tablesOf(masqueradeOwner), ...damage);
  const steps: string[] = [];
  const system = new FakeSystem({
    files,
    executablePath: `${BIN}/host-local`,
    input: JSON.stringify({
      ...{ cniVersion: "1.1.0", name: "net", type: "bridge", ipMasq: true, macspoofchk: true, guardSenders: true },
      ipam: { type: "host-local", ranges: [[{ subnet: "10.22.0.0/24" }]] },
      prevResult: {
        cniVersion: "1.1.0",
        interfaces: [{ name: "cni0" }, { name: PORT }, { name: "eth0", mac: MAC, sandbox: "/run/netns/c1" }],
        ips: [{ address: "10.22.0.2/24", interface: 2 }],
      },
    }),
    environment: { CNI_COMMAND: "DEL", CNI_CONTAINERID: "c1", CNI_NETNS: "", CNI_IFNAME: "eth0", CNI_PATH: BIN },
    netlink(datagram, { protocol }) {
      const types = splitDatagram(datagram).map(({ type }) => type);
      if (protocol !== NETLINK_NETFILTER) {
        if (types.includes(RTM_NEWLINK.type)) steps.push("down");
        if (types.includes(RTM_DELLINK.type)) steps.push("remove the device");
        return kernel.answer(datagram);
      }
      if (types.includes(NFT_MSG_DELSETELEM.type)) steps.push("remove elements");
      else if (types.includes(NFT_MSG_GETSETELEM.type)) steps.push("read elements");
      return nftables.answer(datagram, 1);
    },
  });
  files.fault = (call, path) => {
    if (call === "unlink" && path === RESERVATION) steps.push("release the address");
    return undefined;
  };
  const status = runPlugin(bridge, system, { "host-local": hostLocal });
  expect(system.openCount).toBe(0);
  return { status, output: system.output, steps: [...new Set(steps)], left: nftables.list() };
}

const own = (left: readonly string[]) => left.filter((line) => line.includes("c1/eth0"));
const others = (left: readonly string[]) => left.filter((line) => line.includes("c2/eth0"));
const BY_KEY = ["down", "read elements", "remove elements", "remove the device", "release the address"];

test("removes the elements of all tables while the host's end is down, then the device and the address", () => {
  const { status, steps, left } = del();
  expect(status).toBe(0);
  expect(steps).toEqual(BY_KEY);
  expect(own(left)).toEqual([]);
  const before = new FakeNftables();
  before.do(...tablesOf(OWNER));
  expect(others(left)).toEqual(others(before.list()));
});

test("removes nothing of a port that has another mark", () => {
  const { status, steps } = del({ alias: "cni:net/c9/eth0" });
  expect(status).toBe(0);
  expect(steps).not.toContain("down");
  expect(steps).not.toContain("remove the device");
});

test("keeps the masquerading of an address that another attachment has taken over", () => {
  const { status, left } = del({ masqueradeOwner: "cni:net/c3/eth0" });
  expect(status).toBe(0);
  expect(own(left)).toEqual([]);
  expect(left.filter((line) => line.includes("c3/eth0"))).toHaveLength(2);
});

test("removes the other elements by the owner's mark if one of them is missing", () => {
  const table = macSpoofTable([{ owner: OWNER, port: PORT, mac: MAC }]);
  const [ports] = table.sets;
  const key = { value: Uint8Array.of(...new TextEncoder().encode(PORT), 0, 0, 0, 0) };
  const { status, steps, left } = del({ damage: deleteFromSet(table, ports?.name ?? "", [{ key }]) });
  expect(status).toBe(0);
  expect(steps).toEqual(BY_KEY);
  expect(own(left)).toEqual([]);
  expect(others(left)).not.toEqual([]);
});
