/** The chained executables with a kernel and a disk in memory, called as a runtime calls them. */

import { describe, expect, test } from "vitest";
import { runPlugin } from "../cni/loop.ts";
import type { Plugin } from "../cni/plugin.ts";
import { RTPROT_WEFT } from "../footprint.ts";
import { parseAddress } from "../ip/address.ts";
import { formatPrefix, parsePrefix } from "../ip/prefix.ts";
import { addAddress } from "../kernel/address.ts";
import { FakeKernel } from "../kernel/fake-kernel.ts";
import { changeLink, deleteLink } from "../kernel/link.ts";
import { addRoute } from "../kernel/route.ts";
import { readSnapshot } from "../kernel/snapshot.ts";
import { BlockingNetlink } from "../netlink/blocking.ts";
import { IFF_UP, RTM_NEWLINK } from "../netlink/link.ts";
import { NLM_F_CREATE, query } from "../netlink/message.ts";

import { FakeSystem } from "../sys/fake.ts";
import { FakeFiles } from "../sys/fake-files.ts";
import { chainedPlugin } from "./chained.ts";
import { formatNodeTable, formatStamp, type NodeTable, type Stamp } from "./node-table.ts";
import * as registry from "./registry.ts";
import type { VxlanPeer } from "./vxlan/peer.ts";

const vxlan = chainedPlugin(registry.vxlan, "a test");
const hostGw = chainedPlugin(registry.hostGw, "a test");

const vxlanPeer = (peer: VxlanPeer) => peer;

const BOOT = "96ea72d0-cac5-4990-b116-72f9ea1457b5";
const RUN = "/run/weft";
const NETNS = "/run/netns/a";
const UNDERLAY = 2;
const encode = (text: string) => new TextEncoder().encode(text);

const prevResult = {
  cniVersion: "1.1.0",
  interfaces: [{ name: "eth0", sandbox: NETNS }],
  ips: [{ address: "10.244.1.7/24", gateway: "10.244.1.1", interface: 0 }],
  dns: { nameservers: ["10.96.0.10"] },
};

const netConf = (type: string) => JSON.stringify({ Network: "10.244.0.0/16", Backend: { Type: type } });

const table: NodeTable = {
  ...{ bootId: BOOT, generation: 3, netConf: netConf("vxlan") },
  node: {
    name: "n1",
    subnets: [parsePrefix("10.244.1.0/24")],
    underlay: {
      ...{ index: UNDERLAY, mtu: 1500 },
      ...{ local: { 4: parseAddress("192.0.2.1") }, networks: [parsePrefix("192.0.2.1/24")] },
    },
  },
  deviceMacs: new Map([["flannel.1", "0a:00:00:00:00:01"]]),
  formerSubnets: [],
  peers: [
    vxlanPeer({
      ...{ name: "n2", subnets: [parsePrefix("10.244.2.0/24")], addresses: [parseAddress("192.0.2.2")] },
      ...{ backendType: "vxlan", vtepMacs: { 4: "0a:00:00:00:00:02" } },
    }),
  ],
};
const stamp: Stamp = { bootId: BOOT, generation: 3, backend: "vxlan", devices: ["flannel.1"] };

interface Setting {
  readonly table?: string | undefined;
  readonly stamp?: string | undefined;
  readonly isAlive?: boolean;
}

function bench({ table: tableText, stamp: stampText, isAlive = false }: Setting) {
  const kernel = new FakeKernel();
  kernel.do(
    query(RTM_NEWLINK, "", { flags: IFF_UP }, { ifname: "eth0", mtu: 1500 }, NLM_F_CREATE),
    addAddress({ index: UNDERLAY, prefix: parsePrefix("192.0.2.1/24") }),
  );
  const files = new FakeFiles();
  files.makeDirectory(RUN);
  files.makeDirectory("/proc/sys/kernel/random");
  files.writeFile("/proc/sys/kernel/random/boot_id", encode(`${BOOT}\n`));
  if (tableText !== undefined) files.writeFile(`${RUN}/nodes.json`, encode(tableText));
  if (stampText !== undefined) files.writeFile(`${RUN}/stamp.json`, encode(stampText));
  const netlink = new BlockingNetlink(new FakeSystem({ netlink: kernel.answer }).openNetlink(0), "a test");

  /** Makes one call and parses its output. */
  function call(plugin: Plugin, verb: string, config: object = {}) {
    const system = new FakeSystem({
      environment: {
        ...{ CNI_COMMAND: verb, CNI_CONTAINERID: "c1", CNI_NETNS: NETNS, CNI_IFNAME: "eth0" },
        CNI_PATH: "/opt/cni/bin",
      },
      input: JSON.stringify({ cniVersion: "1.1.0", name: "net", type: plugin.name, prevResult, ...config }),
      ...{ files, netlink: kernel.answer, namespaces: { [NETNS]: "4:1", "/proc/self/ns/net": "4:0" } },
      liveSockets: isAlive ? [`${RUN}/weftd.sock`] : [],
    });
    const status = runPlugin(plugin, system);
    expect(system.openCount).toBe(0);
    return { status, answer: system.output === "" ? undefined : JSON.parse(system.output) };
  }

  const routes = () =>
    readSnapshot(netlink)
      .routes.filter(({ protocol }) => protocol === RTPROT_WEFT)
      .map(({ destination }) => formatPrefix(destination));
  const device = () => readSnapshot(netlink).links.find(({ name }) => name === "flannel.1");
  return { kernel, call, routes, device, files };
}

const served = { table: formatNodeTable(table), stamp: formatStamp(stamp) };

describe("without weftd", () => {
  test("ADD adds what the table has and the kernel lacks, and returns the result unchanged", () => {
    const { call, routes, device, kernel } = bench(served);
    expect(call(vxlan, "ADD")).toEqual({ status: 0, answer: prevResult });
    expect(routes()).toEqual(["10.244.2.0/24"]);
    expect(device()).toMatchObject({ isUp: true, mac: "0a:00:00:00:00:01", mtu: 1450 });
    const { changes } = kernel;
    expect(call(vxlan, "ADD").status).toBe(0);
    expect(kernel.changes).toBe(changes);
    expect(call(vxlan, "CHECK").status).toBe(0);
  });

  test("ADD removes no peer that the table lacks", () => {
    const { call, routes, files } = bench(served);
    call(vxlan, "ADD");
    files.writeFile(`${RUN}/nodes.json`, encode(formatNodeTable({ ...table, peers: [] })));
    expect(call(vxlan, "ADD").status).toBe(0);
    expect(routes()).toEqual(["10.244.2.0/24"]);
  });

  test("ADD recreates a removed device with the hardware address that peers know", () => {
    const { call, kernel, device, routes } = bench(served);
    call(vxlan, "ADD");
    kernel.do(deleteLink("flannel.1"));
    expect(call(vxlan, "ADD").status).toBe(0);
    expect(device()?.mac).toBe("0a:00:00:00:00:01");
    expect(routes()).toEqual(["10.244.2.0/24"]);
  });

  test("ADD returns code 11 with the kernel's error if the kernel refuses a request", () => {
    const { call, kernel } = bench(served);
    const EPERM = 1;
    kernel.refuse = () => EPERM;
    expect(call(vxlan, "ADD")).toEqual({
      status: 1,
      answer: expect.objectContaining({
        code: 11,
        msg: expect.stringMatching(/cannot restore .*ip link add flannel\.1/),
      }),
    });
  });
});

describe("while weftd runs", () => {
  test("ADD only checks the devices: it neither reads the table nor changes the kernel", () => {
    const { call, kernel, routes } = bench({ ...served, table: "not even JSON", isAlive: true });
    kernel.do(query(RTM_NEWLINK, "", { flags: IFF_UP }, { ifname: "flannel.1" }, NLM_F_CREATE));
    expect(call(vxlan, "ADD")).toEqual({ status: 0, answer: prevResult });
    expect(kernel.changes).toBe(0);
    expect(routes()).toEqual([]);
  });

  test.each(["ADD", "CHECK"])("%s returns code 11 while the device is missing or down", (verb) => {
    const { call, kernel } = bench({ ...served, isAlive: true });
    expect(call(vxlan, verb).answer).toMatchObject({
      code: 11,
      msg: expect.stringContaining("flannel.1, which connects this node with its peers, is missing"),
    });
    kernel.do(query(RTM_NEWLINK, "", {}, { ifname: "flannel.1" }, NLM_F_CREATE));
    expect(call(vxlan, verb).answer).toMatchObject({ code: 11, msg: expect.stringContaining("is down") });
    kernel.do(changeLink("flannel.1", { up: true }));
    expect(call(vxlan, verb).status).toBe(0);
  });
});

describe("a table that is not valid", () => {
  const otherBoot = { bootId: "another" };
  test.each<[string, Setting, RegExp]>([
    ["missing", {}, /weftd has not served on this node since it booted/],
    [
      "from another boot",
      { ...served, stamp: formatStamp({ ...stamp, ...otherBoot }) },
      /stamp\.json is from an earlier boot/,
    ],
    [
      "from another boot than the stamp",
      { ...served, table: formatNodeTable({ ...table, ...otherBoot }) },
      /from different boots/,
    ],
    ["of an unknown format", { ...served, stamp: '{"format":9}' }, /format 9 is unknown to this version/],
    ["torn", { ...served, table: served.table.slice(0, 80) }, /nodes\.json/],
    [
      "of another backend",
      { ...served, stamp: formatStamp({ ...stamp, backend: "host-gw" }) },
      /backend is host-gw, not vxlan/,
    ],
  ])("%s makes ADD return 11 without changing anything", (_name, setting, message) => {
    const { call, kernel } = bench(setting);
    expect(call(vxlan, "ADD")).toEqual({
      status: 1,
      answer: expect.objectContaining({ code: 11, msg: expect.stringMatching(message) }),
    });
    expect(kernel.changes).toBe(0);
  });

  test.each<[string, Setting, number]>([
    ["weftd has never served", {}, 50],
    ["the stamp is from another boot", { stamp: formatStamp({ ...stamp, ...otherBoot }) }, 50],
    ["weftd ended after it had served", served, 0],
    ["only another version knows the stamp's format", { stamp: '{"format":9}' }, 0],
    ["the backend is changing", { stamp: formatStamp({ ...stamp, backend: "host-gw" }) }, 0],
  ])("STATUS if %s", (_name, setting, code) => {
    const { answer } = bench(setting).call(vxlan, "STATUS", { prevResult: undefined });
    expect(answer?.code ?? 0).toBe(code);
  });
});

test("CHECK of a pod that is older than a change of the backend checks the current device", () => {
  const { call } = bench({ ...served, stamp: formatStamp({ ...stamp, backend: "host-gw", devices: ["eth0"] }) });
  expect(call(vxlan, "CHECK")).toMatchObject({ status: 0 });
});

test("DEL and GC change no peer and succeed without table, result and namespace", () => {
  const { call, routes, kernel } = bench(served);
  call(vxlan, "ADD");
  const { changes } = kernel;
  expect(call(vxlan, "DEL", { prevResult: undefined }).status).toBe(0);
  expect(call(vxlan, "GC", { prevResult: undefined, "cni.dev/valid-attachments": [] }).status).toBe(0);
  expect(bench({}).call(vxlan, "DEL").status).toBe(0);
  expect([routes(), kernel.changes]).toEqual([["10.244.2.0/24"], changes]);
});

test("a chain without a previous result is a configuration error", () => {
  expect(bench(served).call(vxlan, "ADD", { prevResult: undefined }).answer).toMatchObject({
    code: 7,
    msg: expect.stringContaining("prevResult"),
  });
});

describe("with peers in the configuration", () => {
  const peer = { name: "b", subnets: ["10.244.2.0/24"], addresses: ["192.0.2.2"] };
  const direct = { device: "eth0", peers: [peer] };
  const tunnelled = {
    ...{ device: "eth0", vni: 7, port: 4789, mac: "0a:00:00:00:00:01" },
    peers: [{ ...peer, vtepMacs: { 4: "0a:00:00:00:00:02" } }],
  };

  test("host-gw needs no other keys for STATUS, ADD and CHECK", () => {
    const { call, routes } = bench({});
    expect(call(hostGw, "STATUS", direct).status).toBe(0);
    expect(call(hostGw, "CHECK", direct).answer).toMatchObject({
      code: 11,
      msg: expect.stringContaining("ip route add 10.244.2.0/24 via 192.0.2.2 dev index 2 proto 119"),
    });
    expect(call(hostGw, "ADD", direct)).toEqual({ status: 0, answer: prevResult });
    expect(routes()).toEqual(["10.244.2.0/24"]);
    expect(call(hostGw, "CHECK", direct).status).toBe(0);
  });

  test("vxlan creates its device with the configured VNI, port and hardware address", () => {
    const { call, kernel, routes } = bench({});
    expect(call(vxlan, "ADD", tunnelled).status).toBe(0);
    expect(routes()).toEqual(["10.244.2.0/24"]);
    kernel.do(changeLink("flannel.7", { up: false }));
    expect(call(vxlan, "CHECK", tunnelled).answer).toMatchObject({ code: 11 });
    expect(call(vxlan, "ADD", tunnelled).status).toBe(0);
    expect(routes()).toEqual(["10.244.2.0/24"]);
  });

  test("vxlan creates one device and ignores a VNI and port in a peer's entry", () => {
    const { call, kernel } = bench({});
    const peers = tunnelled.peers.map((stated) => ({ ...stated, vni: 1, port: 8472 }));
    expect(call(vxlan, "ADD", { ...tunnelled, peers }).status).toBe(0);
    const { links } = readSnapshot(new BlockingNetlink(new FakeSystem({ netlink: kernel.answer }).openNetlink(0), ""));
    expect(links.filter(({ kind }) => kind === "vxlan").map(({ name }) => name)).toEqual(["flannel.7"]);
  });

  test("ADD fails and names another program's device of the same name, which is kept", () => {
    const { call, kernel, routes } = bench({});
    call(vxlan, "ADD", tunnelled);
    const { changes } = kernel;
    expect(call(vxlan, "ADD", { ...tunnelled, port: 8472 }).answer).toMatchObject({
      code: 11,
      msg: expect.stringContaining("a device flannel.7 exists"),
    });
    expect([routes(), kernel.changes]).toEqual([["10.244.2.0/24"], changes]);
  });

  test("ADD fails and names another program's route to the subnet, which is kept", () => {
    const { call, kernel, routes } = bench({});
    const route = {
      destination: parsePrefix("10.244.2.0/24"),
      gateway: parseAddress("192.0.2.9"),
      outputIndex: UNDERLAY,
    };
    kernel.do(addRoute({ ...route, protocol: 4 }));
    expect(call(hostGw, "ADD", direct).answer).toMatchObject({
      code: 11,
      msg: expect.stringContaining('"10.244.2.0/24 via 192.0.2.9 dev index 2 proto 4" is not weft\'s'),
    });
    expect(routes()).toEqual([]);
  });

  test.each<[string, Plugin, object, RegExp]>([
    ["device", hostGw, { peers: [peer] }, /^device: /],
    ["missing device", hostGw, { ...direct, device: "eth9" }, /^device: .*got "eth9"/],
    ["peers", hostGw, { ...direct, peers: {} }, /^peers: expected a list/],
    ["name", hostGw, { ...direct, peers: [{ subnets: [] }] }, /^peers\[0\]\.name: /],
    [
      "subnet",
      hostGw,
      { ...direct, peers: [{ ...peer, subnets: ["10.244.2.1/24"] }] },
      /^peers\[0\]\.subnets\[0\]: .*10\.244\.2\.0\/24/,
    ],
    ["address", hostGw, { ...direct, peers: [{ ...peer, addresses: ["host"] }] }, /^peers\[0\]\.addresses\[0\]: /],
    [
      "address that is not on the link",
      hostGw,
      { ...direct, peers: [{ ...peer, addresses: ["198.51.100.2"] }] },
      /^peers: b: .*not on this node's link/,
    ],
    ["own mac", vxlan, { ...tunnelled, mac: undefined }, /^mac: /],
    ["vni", vxlan, { ...tunnelled, vni: 10_000_000 }, /^vni: .*to 9999999/],
    ["port", vxlan, { ...tunnelled, port: 0 }, /^port: /],
    ["peer's mac", vxlan, { ...tunnelled, peers: [{ ...peer, vtepMacs: { 4: "0a" } }] }, /^peers\[0\]\.vtepMacs\.4: /],
    ["missing peer's mac", vxlan, { ...tunnelled, peers: [peer] }, /^peers: b: .*no VTEP MAC/],
    ["result without addresses", hostGw, { ...direct, prevResult: { ...prevResult, ips: [] } }, /^prevResult\.ips: /],
  ])(
    "refuses a configuration with an invalid %s, names the key and changes nothing",
    (_name, plugin, config, message) => {
      const { call, kernel } = bench({});
      expect(call(plugin, "ADD", config).answer).toMatchObject({ code: 7, msg: expect.stringMatching(message) });
      expect(kernel.changes).toBe(0);
    },
  );
});
