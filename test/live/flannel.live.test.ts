/**
 * `flannel` with weft's bridge and with the reference's: the life cycle of a pod, with the file that flanneld writes.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import { OURS, PluginBed, REFERENCE } from "./harness/plugin-bed.ts";

const ENV = "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.1.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n";
const conf = {
  ...{ cniVersion: "1.0.0", name: "cbr0", type: "flannel", subnetFile: "/var/lib/cni/subnet.env" },
  delegate: { hairpinMode: true, isDefaultGateway: true },
};

let bed: PluginBed;
beforeAll(async () => {
  bed = await PluginBed.make();
  await bed.node.succeed("sh", ["-c", `printf '${ENV}' >/var/lib/cni/subnet.env`]);
});
afterAll(() => bed.close());

const files = async () =>
  (await bed.node.succeed("sh", ["-c", "cd /var/lib/cni && find . -type f ! -name lock ! -path '*/.weft/*' | sort"]))
    .trim()
    .split("\n");

/** A folder with only weft's flannel, so that bridge and host-local are found in a later folder of CNI_PATH. */
const ALONE = "/var/lib/cni/bin";

test.each([
  ["weft's bridge, in the same process", OURS, OURS],
  ["the reference's bridge, executed", ALONE, `${ALONE}:${REFERENCE}`],
])("with %s, a pod is attached, checked and removed, and nothing is left", async (_name, bin, path) => {
  await bed.node.succeed("sh", ["-c", `mkdir -p ${ALONE} && cp ${OURS}/weft ${ALONE}/flannel`]);
  const call = (verb: string, more: object = {}) => {
    const netns = bed.podNamespace.path;
    const env = { CNI_COMMAND: verb, CNI_CONTAINERID: "c1", CNI_NETNS: netns, CNI_IFNAME: "eth0", CNI_PATH: path };
    return bed.call(bin, "flannel", verb, { ...conf, ...more }, { env: { ...env, PATH: "/usr/sbin:/usr/bin" } });
  };
  const added = await call("ADD");
  expect(added).toMatchObject({ status: 0, json: { ips: [{ address: "10.244.1.2/24", gateway: "10.244.1.1" }] } });
  const links = await bed.pod.json<object[]>("ip", ["-j", "link", "show", "eth0"]);
  expect(links).toMatchObject([{ ifname: "eth0", mtu: 1450 }]);
  const routes = await bed.pod.json<{ dst: string; gateway?: string }[]>("ip", ["-j", "route", "show"]);
  expect(routes.map(({ dst, gateway }) => `${dst} ${gateway ?? "-"}`)).toEqual([
    "default 10.244.1.1",
    "10.244.0.0/16 10.244.1.1",
    "10.244.1.0/24 -",
  ]);
  expect(await bed.pod.pings("10.244.1.1")).toBe(true);
  expect(await files()).toContain("./flannel/c1");
  expect(await call("CHECK", { prevResult: added.json })).toMatchObject({ status: 0, output: "" });
  expect(await call("DEL", { prevResult: added.json })).toMatchObject({ status: 0, output: "" });
  expect(await files()).toEqual(["./bin/flannel", "./networks/cbr0/last_reserved_ip.0", "./subnet.env"]);
  expect(await bed.pod.json("ip", ["-j", "link", "show", "type", "veth"])).toEqual([]);
  await bed.node.succeed("sh", ["-c", `ip link del cni0 && rm -r /var/lib/cni/networks ${ALONE}`]);
});

test("STATUS returns code 50 until flanneld has written its file, then succeeds", async () => {
  const status = (subnetFile: string) =>
    bed.call(OURS, "flannel", "STATUS", { ...conf, cniVersion: "1.1.0", subnetFile });
  expect(await status("/var/lib/cni/none.env")).toMatchObject({
    status: 1,
    json: { code: 50, msg: expect.stringContaining("/var/lib/cni/none.env") },
  });
  expect(await status("/var/lib/cni/subnet.env")).toMatchObject({ status: 0, output: "" });
});
