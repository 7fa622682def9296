/** host-device on a real kernel: moves a device into a pod and back. test/differential compares its results. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type CallOptions, OURS, PluginBed, REFERENCE } from "./harness/plugin-bed.ts";

const PORT = 7013;
const MAC = "0a:00:00:00:00:01";
const IPAM = { type: "host-local", ranges: [[{ subnet: "10.33.0.0/24" }], [{ subnet: "fd00:33::/64" }]] };
const conf = (more: object = {}) => ({
  ...{ cniVersion: "1.1.0", name: "net", type: "host-device", device: "dev0", ipam: IPAM },
  ...more,
});

let bed: PluginBed;
beforeEach(async () => {
  bed = await PluginBed.make();
  await bed.node.succeed("ip", ["link", "add", "dev0", "address", MAC, "type", "veth", "peer", "name", "far0"]);
  for (const device of ["dev0", "far0"]) await bed.node.succeed("ip", ["link", "set", device, "up"]);
});
afterEach(() => bed.close());

const hostDevice = (verb: string, input: unknown = conf(), options: CallOptions = {}, bin = OURS) =>
  bed.call(bin, "host-device", verb, input, options);

interface ShownLink {
  readonly ifname: string;
  readonly address: string;
  readonly ifalias?: string;
  readonly flags: readonly string[];
}
const links = async (of = bed.node) =>
  (await of.json<ShownLink[]>("ip", ["-j", "link", "show", "type", "veth"])).sort((a, b) =>
    a.ifname < b.ifname ? -1 : 1,
  );
const names = async (of = bed.node) => (await links(of)).map(({ ifname }) => ifname);

test("the device serves the pod, and is returned to the host", async () => {
  await bed.node.succeed("ip", ["address", "add", "10.33.0.200/24", "dev", "far0"]);
  await bed.node.listen(PORT);
  const added = await hostDevice("ADD");
  expect(added).toMatchObject({ status: 0, json: { interfaces: [{ name: "eth0", mac: MAC }] } });
  expect(await bed.pod.seenBy("10.33.0.200", PORT)).toBe("10.33.0.2");
  expect(await names()).toEqual(["far0"]);
  expect(await hostDevice("DEL", { ...conf(), prevResult: added.json })).toMatchObject({ status: 0, output: "" });
  expect(await names(bed.pod)).toEqual([]);
  const [device] = await links();
  expect(device).toMatchObject({ ifname: "dev0", address: MAC });
  expect(device).not.toHaveProperty("ifalias");
  expect(await bed.reservations()).toBe("");
});

test.each(["enp0s31f6verylongname", "alt0"])(
  "the device's alternative name %s can be used, and stays on the device",
  async (name) => {
    await bed.node.succeed("ip", ["link", "property", "add", "dev", "dev0", "altname", name]);
    const named = conf({ device: name });
    const added = await hostDevice("ADD", named);
    expect(added).toMatchObject({ status: 0, json: { interfaces: [{ name: "eth0", mac: MAC }] } });
    expect(await names()).toEqual(["far0"]);
    expect(await hostDevice("CHECK", { ...named, prevResult: added.json })).toMatchObject({ status: 0, output: "" });
    expect(await hostDevice("DEL", { ...named, prevResult: added.json })).toMatchObject({ status: 0, output: "" });
    const [device] = await bed.node.json<object[]>("ip", ["-j", "link", "show", "dev", name]);
    expect(device).toMatchObject({ ifname: "dev0", altnames: [name] });
    expect(device).not.toHaveProperty("ifalias");
  },
);

test("a program that watches the host's links sees the device return with its own name only", async () => {
  await hostDevice("ADD");
  const watched = bed.node.run("timeout", ["2", "ip", "-o", "monitor", "link"]);
  await new Promise((resolve) => setTimeout(resolve, 500));
  expect(await hostDevice("DEL")).toMatchObject({ status: 0 });
  const seen = (await watched).stdout.split("\n").flatMap((line) => /^\d+: ([^:@]+)/.exec(line)?.[1] ?? []);
  expect(seen).toContain("dev0");
  expect(new Set(seen)).toEqual(new Set(["dev0", "far0"]));
});

test.each([
  ["weft", "the reference", OURS, REFERENCE],
  ["the reference", "weft", REFERENCE, OURS],
])("%s moves the device in, and %s moves it back", async (_mover, _giver, adds, deletes) => {
  expect(await hostDevice("ADD", conf(), {}, adds)).toMatchObject({ status: 0 });
  expect(await hostDevice("DEL", conf(), {}, deletes)).toMatchObject({ status: 0 });
  expect(await names()).toEqual(["dev0", "far0"]);
});

describe("kept devices", () => {
  test("a failed ADD leaves the device up on the host", async () => {
    const ipam = { ...IPAM, routes: [{ dst: "10.9.0.0/16", gw: "10.99.0.1" }] };
    const before = await bed.state();
    expect(await hostDevice("ADD", conf({ ipam }))).toMatchObject({ status: 1 });
    expect(withoutIndex(await bed.state())).toEqual(withoutIndex(before));
  });

  test("DEL keeps another plugin's link of the same name", async () => {
    await bed.pod.succeed("ip", ["link", "add", "eth0", "type", "veth", "peer", "name", "eth1"]);
    expect(await hostDevice("ADD")).toMatchObject({ status: 1, json: { code: 4 } });
    expect(await hostDevice("DEL")).toMatchObject({ status: 0 });
    expect(await names(bed.pod)).toEqual(["eth0", "eth1"]);
    expect(await names()).toEqual(["dev0", "far0"]);
  });

  test("DEL keeps the device in the pod while the host has another of its name", async () => {
    await hostDevice("ADD");
    await bed.node.succeed("ip", ["link", "add", "dev0", "type", "veth", "peer", "name", "dev1"]);
    expect(await hostDevice("DEL")).toMatchObject({
      status: 1,
      json: { code: 999, msg: expect.stringMatching(/cannot be moved back to the host, which has another link dev0/) },
    });
    expect(await links(bed.pod)).toMatchObject([{ ifname: "eth0", ifalias: "dev0" }]);
    expect((await links(bed.pod))[0]?.flags).toContain("UP");
    expect(await bed.reservations()).toMatch(/c1/);
    await bed.node.succeed("ip", ["link", "del", "dev0"]);
    expect(await hostDevice("DEL")).toMatchObject({ status: 0 });
    expect(await names()).toEqual(["dev0", "far0"]);
  });
});

/** A device may get another index when it returns from a namespace. */
function withoutIndex(state: unknown): unknown {
  return JSON.parse(JSON.stringify(state, (key, value) => (/^(ifindex|link_index)$/.test(key) ? undefined : value)));
}

describe("a pod that is gone", () => {
  /** Simulates, on a virtual device, how the kernel returns a physical one. The kernel would remove the virtual one. */
  const goesBack = async () => {
    await hostDevice("ADD");
    const move = `ip netns exec ${bed.podNamespace.name} ip link set eth0 netns`;
    await bed.node.succeed("sh", ["-c", `sleep 30 & ${move} $!; kill $!`]);
    expect(await links()).toMatchObject([{ ifname: "eth0", ifalias: "dev0" }, { ifname: "far0" }]);
  };

  test.each(["DEL", "GC"])("leaves a device that %s renames back", async (verb) => {
    await goesBack();
    const input = { ...conf(), "cni.dev/valid-attachments": [] };
    expect(await hostDevice(verb, input, { netns: "" })).toMatchObject({ status: 0, output: "" });
    expect(await names()).toEqual(["dev0", "far0"]);
    expect((await links())[0]).not.toHaveProperty("ifalias");
    expect(await bed.reservations()).toBe("");
  });

  test("does not make DEL rename a similar device", async () => {
    await hostDevice("ADD");
    await bed.node.succeed("ip", ["link", "set", "far0", "alias", "dev0"]);
    await bed.node.succeed("ip", ["link", "add", "dev1", "type", "veth", "peer", "name", "dev2"]);
    await bed.node.succeed("ip", ["link", "set", "dev1", "alias", "dev0"]);
    expect(await hostDevice("DEL", conf(), { netns: "" })).toMatchObject({ status: 0 });
    expect(await names()).toEqual(["dev1", "dev2", "far0"]);
  });
});

describe("a device named by a path in /sys", () => {
  /** The node sees a private folder as /sys. */
  const PCI = "/sys/bus/pci/devices/0000:00:05.0";
  beforeEach(async () => {
    const made = [
      "mount -t tmpfs tmpfs /sys && mkdir -p /sys/devices/pci0/net/dev0",
      `mkdir -p ${PCI}/virtio3/net/dev0 /sys/bus/pci/devices/0000:00:06.0`,
      "mkdir -p /sys/bus/auxiliary/devices/mlx5_core.sf.4/net/dev0",
      "mkdir -p /sys/bus/pci/drivers/vfio-pci/0000:00:06.0 /sys/bus/pci/drivers/virtio-pci/0000:00:05.0",
      `ln -s ../../drivers/virtio-pci ${PCI}/driver`,
      "ln -s ../../drivers/vfio-pci /sys/bus/pci/devices/0000:00:06.0/driver",
    ];
    await bed.node.succeed("sh", ["-c", made.join(" && ")]);
  });

  test.each([
    ["its path", { kernelpath: "/sys/devices/pci0" }],
    ["its PCI address", { pciBusID: "0000:00:05.0" }],
    ["the runtime's PCI device, which overrides the configuration", { device: "far0" }, "0000:00:05.0"],
    ["the runtime's auxiliary device", {}, "mlx5_core.sf.4"],
  ])("is found by %s", async (_name, more, deviceID = "") => {
    const input = conf({ device: "", ...more, runtimeConfig: { deviceID } });
    const added = await hostDevice("ADD", input);
    expect(added).toMatchObject({ status: 0, json: { interfaces: [{ name: "eth0", mac: MAC }] } });
    expect(await hostDevice("CHECK", { ...input, prevResult: added.json })).toMatchObject({ status: 0, output: "" });
    expect(await hostDevice("DEL", { ...input, prevResult: added.json })).toMatchObject({ status: 0, output: "" });
    expect(await names()).toEqual(["dev0", "far0"]);
  });

  test("gets only addresses if a user-space driver uses it", async () => {
    const input = conf({ device: "", pciBusID: "0000:00:06.0" });
    const added = await hostDevice("ADD", input);
    expect(added).toMatchObject({ status: 0, json: { ips: [{ address: "10.33.0.2/24" }, {}] } });
    expect(added.json.interfaces ?? []).toEqual([]);
    expect(added.json.ips[0]).not.toHaveProperty("interface");
    expect(await hostDevice("CHECK", { ...input, prevResult: added.json })).toMatchObject({ status: 0, output: "" });
    expect(await names(bed.pod)).toEqual([]);
    expect(await hostDevice("DEL", { ...input, prevResult: added.json })).toMatchObject({ status: 0, output: "" });
    expect(await bed.reservations()).toBe("");
  });

  test.each([
    ["a path outside /sys/devices", { kernelpath: "/sys/devices/../bus" }, 7, /^kernelpath/],
    ["a path instead of an address", { pciBusID: "../../devices" }, 7, /^pciBusID/],
    ["an invalid address", { pciBusID: "0000:00:07.0" }, 7, /^pciBusID: no link/],
    ["an invalid device of the runtime", { runtimeConfig: { deviceID: "0000:00:07.0" } }, 7, /deviceID: no link/],
    ["no device", {}, 7, /"hwaddr", "kernelpath" or "pciBusID"/],
    ["the device's own addresses", { device: "dev0", useInterfaceNetwork: true }, 2, /^useInterfaceNetwork/],
  ])("rejects %s, and changes nothing", async (_name, more, code, message) => {
    const before = await bed.state();
    const added = await hostDevice("ADD", conf({ device: "", ...more }));
    expect(added).toMatchObject({ status: 1, json: { code, msg: expect.stringMatching(message) } });
    expect(await bed.state()).toEqual(before);
  });
});
