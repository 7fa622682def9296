/** DEL if CNI_NETNS points elsewhere by now: the process number in its path may have been reused. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Inside } from "./harness/inside.ts";
import type { Namespace } from "./harness/namespace.ts";
import { type Answer, OURS, PluginBed, REFERENCE } from "./harness/plugin-bed.ts";

const IPAM = { type: "host-local", ranges: [[{ subnet: "10.22.0.0/24" }], [{ subnet: "fd00:22::/64" }]] };
const conf = (type: string, more: object = {}) => ({ cniVersion: "1.1.0", name: "net", type, ipam: IPAM, ...more });
const MACVLAN = conf("macvlan", { master: "up0" });

let bed: PluginBed;
/** The other pod, which has the reused process number. */
let other: { readonly namespace: Namespace; readonly inside: Inside };
beforeEach(async () => {
  bed = await PluginBed.make();
  other = await bed.anotherPod("other");
  await addDevice("up0");
});
afterEach(() => bed.close());

async function addDevice(name: string): Promise<void> {
  await bed.node.succeed("ip", ["link", "add", name, "type", "veth", "peer", "name", `${name}p`]);
  await bed.node.succeed("ip", ["link", "set", name, "up"]);
}

/** The path that runtimes use for a namespace without a name. */
const byProcess = ({ pid }: Inside) => `/proc/${pid}/ns/net`;

type Configuration = ReturnType<typeof conf>;
const call = (verb: string, configuration: Configuration, containerId: string, netns: string, bin = OURS) =>
  bed.call(bin, configuration.type, verb, configuration, { containerId, netns });

async function addBoth(configuration: Configuration, bin = OURS): Promise<{ first: Answer; second: Answer }> {
  const first = await call("ADD", configuration, "c1", bed.podNamespace.path, bin);
  const second = await call("ADD", configuration, "c2", other.namespace.path, bin);
  expect([first.status, second.status]).toEqual([0, 0]);
  return { first, second };
}

const linksOf = async (inside: Inside) =>
  (await inside.json<{ ifname: string }[]>("ip", ["-j", "link", "show"])).map(({ ifname }) => ifname);

describe.each([
  ["bridge", conf("bridge", { isGateway: true, ipMasq: true })],
  ["ptp", conf("ptp", { ipMasq: true })],
  ["macvlan", MACVLAN],
  ["tap", conf("tap")],
])("%s", (_type, configuration) => {
  test("another pod's namespace is unchanged, and the address is freed", async () => {
    const { first, second } = await addBoth(configuration);
    const deleted = await call(
      "DEL",
      { ...configuration, prevResult: first.json } as Configuration,
      "c1",
      byProcess(other.inside),
    );
    expect(deleted).toMatchObject({ status: 0, output: "" });
    expect(await linksOf(other.inside)).toContain("eth0");
    const reservations = await bed.reservations();
    expect(reservations).not.toContain("c1");
    expect(reservations).toContain("c2");
    const check = { ...configuration, prevResult: second.json } as Configuration;
    expect(await call("CHECK", check, "c2", other.namespace.path)).toMatchObject({ status: 0 });
    expect(await call("DEL", check, "c2", byProcess(other.inside))).toMatchObject({ status: 0 });
    expect(await linksOf(other.inside)).not.toContain("eth0");
    expect(await bed.reservations()).toBe("");
  });

  test("the host's namespace is unchanged, and the address is freed", async () => {
    await addDevice("eth0");
    const added = await call("ADD", configuration, "c1", bed.podNamespace.path);
    expect(added.status).toBe(0);
    const configured = { ...configuration, prevResult: added.json } as Configuration;
    expect(await call("DEL", configured, "c1", "/proc/self/ns/net")).toMatchObject({ status: 0, output: "" });
    expect(await linksOf(bed.node)).toContain("eth0");
    expect(await bed.reservations()).toBe("");
  });
});

test("in a namespace with a name, DEL removes an interface even after its address and hardware address changed", async () => {
  const added = await call("ADD", MACVLAN, "c1", bed.podNamespace.path);
  await bed.pod.succeed("ip", ["address", "flush", "dev", "eth0"]);
  await bed.pod.succeed("ip", ["link", "set", "eth0", "address", "02:00:00:00:00:05"]);
  const deleting = { ...MACVLAN, prevResult: added.json } as Configuration;
  expect(await call("DEL", deleting, "c1", bed.podNamespace.path)).toMatchObject({ status: 0 });
  expect(await linksOf(bed.pod)).toEqual(["lo"]);
});

test.each(["bridge", "ptp"])(
  "%s: DEL removes the attachment's own link, in whichever namespace it is",
  async (type) => {
    const configuration = conf(type, type === "bridge" ? { isGateway: true } : {});
    await addBoth(configuration);
    // Without the previous result: by the marks alone.
    expect(await call("DEL", configuration, "c1", byProcess(other.inside))).toMatchObject({ status: 0 });
    expect(await linksOf(bed.pod)).not.toContain("eth0");
    expect(await linksOf(other.inside)).toContain("eth0");
  },
);

test.each(["bridge", "ptp"])("%s: a pod that renamed its end loses it", async (type) => {
  const configuration = conf(type, type === "bridge" ? { isGateway: true } : {});
  await addBoth(configuration);
  await bed.pod.succeed("ip", ["link", "set", "eth0", "down"]);
  await bed.pod.succeed("ip", ["link", "set", "eth0", "name", "renamed0"]);
  expect(await call("DEL", configuration, "c1", byProcess(bed.pod))).toMatchObject({ status: 0 });
  expect(await linksOf(bed.pod)).toEqual(["lo"]);
});

test("DEL removes an interface even if another network of its pod has a long name", async () => {
  const long = { ...conf("bridge", { isGateway: true }), name: "n".repeat(60) } as Configuration;
  const eth0 = await bed.call(OURS, "bridge", "ADD", long, { containerId: "c1", netns: bed.podNamespace.path });
  expect(eth0.status).toBe(0);
  const second = { containerId: "c1", netns: bed.podNamespace.path, ifName: "net1" };
  const added = await bed.call(OURS, "macvlan", "ADD", MACVLAN, second);
  expect(added.status).toBe(0);
  // Recognised only by the marks of the other links.
  expect(await bed.call(OURS, "macvlan", "DEL", MACVLAN, { ...second, netns: byProcess(bed.pod) })).toMatchObject({
    status: 0,
  });
  expect((await linksOf(bed.pod)).sort()).toEqual(["eth0", "lo"]);
});

describe.each(["bridge", "ptp"])("%s: a pod that the reference attached", (type) => {
  const configuration = conf(type, type === "bridge" ? { isGateway: true } : {});

  test("is not touched if the previous result has another link", async () => {
    const { first } = await addBoth(configuration, REFERENCE);
    const deleting = { ...configuration, prevResult: first.json } as Configuration;
    expect(await call("DEL", deleting, "c1", byProcess(other.inside))).toMatchObject({ status: 0 });
    expect(await linksOf(other.inside)).toContain("eth0");
    expect(await bed.reservations()).not.toContain("c1");
  });

  test("loses its link on its own DEL, even with a changed MAC and without a result", async () => {
    const { first } = await addBoth(configuration, REFERENCE);
    await bed.pod.succeed("ip", ["link", "set", "eth0", "address", "02:00:00:00:00:05"]);
    const deleting = { ...configuration, prevResult: first.json } as Configuration;
    expect(await call("DEL", deleting, "c1", byProcess(bed.pod))).toMatchObject({ status: 0 });
    expect(await linksOf(bed.pod)).not.toContain("eth0");
    expect(await call("DEL", configuration, "c2", byProcess(other.inside))).toMatchObject({ status: 0 });
    expect(await linksOf(other.inside)).not.toContain("eth0");
    expect(await bed.reservations()).toBe("");
  });
});

test("host-device: another pod keeps its device", async () => {
  const device = async (name: string) => {
    await addDevice(name);
    return conf("host-device", { device: name });
  };
  const [one, two] = [await device("dev1"), await device("dev2")];
  const first = await call("ADD", one, "c1", bed.podNamespace.path);
  expect(await call("ADD", two, "c2", other.namespace.path)).toMatchObject({ status: 0 });
  const deleting = { ...one, prevResult: first.json } as Configuration;
  expect(await call("DEL", deleting, "c1", byProcess(other.inside))).toMatchObject({ status: 0 });
  expect(await linksOf(other.inside)).toContain("eth0");
  expect(await call("DEL", deleting, "c1", "/proc/self/ns/net")).toMatchObject({ status: 0 });
  expect(await call("DEL", deleting, "c1", byProcess(bed.pod))).toMatchObject({ status: 0 });
  expect(await linksOf(bed.node)).toContain("dev1");
});

test("loopback and tuning: another pod's lo stays up, and its interface is unchanged", async () => {
  const { first } = await addBoth(conf("bridge", { isGateway: true }));
  const loopback = { cniVersion: "1.1.0", name: "lo", type: "loopback" } as Configuration;
  expect(
    await bed.call(OURS, "loopback", "DEL", loopback, { netns: byProcess(other.inside), ifName: "lo" }),
  ).toMatchObject({
    status: 0,
  });
  const tuning = {
    ...conf("tuning", { mtu: 1300, dataDir: "/run/weft-test-tuning" }),
    prevResult: first.json,
  } as Configuration;
  expect(await call("ADD", tuning, "c1", bed.podNamespace.path)).toMatchObject({ status: 0 });
  await other.inside.succeed("ip", ["link", "set", "eth0", "mtu", "1280"]);
  expect(await call("DEL", tuning, "c1", byProcess(other.inside))).toMatchObject({ status: 0 });
  const links = await other.inside.json<{ ifname: string; mtu: number; flags: string[] }[]>("ip", [
    "-j",
    "link",
    "show",
  ]);
  expect(links.find(({ ifname }) => ifname === "lo")?.flags).toContain("UP");
  expect(links.find(({ ifname }) => ifname === "eth0")?.mtu).toBe(1280);
});

test("an executed IPAM plugin accepts the host's namespace", async () => {
  const ours = conf("bridge", { isGateway: true });
  const added = await call("ADD", ours, "c1", bed.podNamespace.path);
  const env = {
    ...{ CNI_COMMAND: "DEL", CNI_CONTAINERID: "c1", CNI_NETNS: "/proc/self/ns/net", CNI_IFNAME: "eth0" },
    ...{ CNI_PATH: REFERENCE, PATH: "/usr/sbin:/usr/bin:/sbin:/bin" },
  };
  const deleting = { ...ours, prevResult: added.json };
  expect(await bed.call(OURS, "bridge", "DEL", deleting, { env })).toMatchObject({ status: 0, output: "" });
  expect(await bed.reservations()).toBe("");
  expect(await linksOf(bed.pod)).not.toContain("eth0");
});
