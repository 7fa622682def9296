/**
 * bridge on a bridge that another program made. Such a bridge has its ports' lowest hardware address until one is set.
 */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type Answer, type CallOptions, OURS, PluginBed, REFERENCE } from "./harness/plugin-bed.ts";

const IPAM = { type: "host-local", ranges: [[{ subnet: "10.22.0.0/24" }]] };
const conf = (more: object = {}) => ({
  ...{ cniVersion: "1.1.0", name: "net", type: "bridge", bridge: "br0", isDefaultGateway: true, ipam: IPAM },
  ...more,
});
const LAYER_2 = { ...conf({ name: "layer2", isDefaultGateway: false, ipam: {} }) };
/** Lower than every address that a plugin generates. */
const LOW = "02:00:00:00:00:01";

let bed: PluginBed;
beforeEach(async () => {
  bed = await PluginBed.make();
  await onNode("ip link add br0 type bridge; ip link set br0 up");
});
afterEach(() => bed.close());

const bridge = (verb: string, input: unknown, options: CallOptions = {}) =>
  bed.call(OURS, "bridge", verb, input, options);
const onNode = (script: string) => bed.node.succeed("sh", ["-c", script]);
const plugLow = () =>
  onNode(
    `ip link add low0 address ${LOW} type veth peer name low1; ip link set low0 master br0 up; ip link set low1 up`,
  );

const bridgeMac = async () =>
  (await bed.node.json<{ address: string }[]>("ip", ["-j", "link", "show", "br0"]))[0]?.address;
const toldMac = ({ json }: Answer): string => json.interfaces[0].mac;
const check = (configuration: object, { json }: Answer, options?: CallOptions) =>
  bridge("CHECK", { ...configuration, prevResult: json }, options);

test("the gateway's hardware address stays the same when ports are added and removed", async () => {
  const before = await bridgeMac();
  const added = await bridge("ADD", conf());
  expect(toldMac(added)).toBe(before);
  expect(await bed.pod.pings("10.22.0.1")).toBe(true);
  const neighbours = () => bed.pod.json<{ dst: string; lladdr: string }[]>("ip", ["-j", "neigh", "show", "10.22.0.1"]);
  expect(await neighbours()).toMatchObject([{ lladdr: before }]);
  await plugLow();
  expect(await bridgeMac()).toBe(before);
  expect(await check(conf(), added)).toMatchObject({ status: 0 });
  const other = await bed.anotherPod("other");
  const second = await bridge("ADD", conf(), { containerId: "c2", netns: other.namespace.path });
  expect(toldMac(second)).toBe(before);
  await onNode("ip link del low0");
  await bridge("DEL", { ...conf(), prevResult: second.json }, { containerId: "c2", netns: other.namespace.path });
  expect(await bridgeMac()).toBe(before);
  expect(await bed.pod.pings("10.22.0.1")).toBe(true);
  expect(await bed.call(REFERENCE, "bridge", "CHECK", { ...conf(), prevResult: added.json })).toMatchObject({
    status: 0,
  });
});

test("a bridge without ports gets an address, and keeps it", async () => {
  await plugLow();
  await onNode("ip link del low0");
  expect(await bridgeMac()).toBe("00:00:00:00:00:00");
  const added = await bridge("ADD", conf());
  expect(added.status).toBe(0);
  expect(toldMac(added)).toBe(await bridgeMac());
  await plugLow();
  expect(toldMac(added)).toBe(await bridgeMac());
  expect(await bed.pod.pings("10.22.0.1")).toBe(true);
});

test("a conflict of the gateway's address is found before anything is changed", async () => {
  await onNode("ip address add 10.23.0.1/24 dev br0");
  const before = await bridgeMac();
  expect(await bridge("ADD", conf())).toMatchObject({ status: 1, json: { code: 7 } });
  await plugLow();
  expect(await bridgeMac()).not.toBe(before);
});

describe("if the bridge's address is not set (as with the reference), the result has the address that the port gave it", () => {
  test.each([
    ["the gateway's address exists", "ip address add 10.22.0.1/24 dev br0", conf()],
    ["the bridge is not a gateway", "true", conf({ isDefaultGateway: false })],
    ["there are no addresses", "true", LAYER_2],
    ["the interface stays down", "true", { ...LAYER_2, disableContainerInterface: true }],
  ])("%s", async (_name, prepare, configuration) => {
    await onNode(prepare);
    const before = await bridgeMac();
    const added = await bridge("ADD", configuration);
    expect(toldMac(added)).toBe(await bridgeMac());
    expect(toldMac(added)).not.toBe(before);
    expect(await check(configuration, added)).toMatchObject({ status: 0 });
    // Another port changed the bridge's address: the attachment is still valid.
    await plugLow();
    expect(await bridgeMac()).toBe(LOW);
    expect(await check(configuration, added)).toMatchObject({ status: 0 });
    await onNode("ip link set br0 address 02:00:00:00:00:77");
    expect(await check(configuration, added)).toMatchObject({
      status: 1,
      json: { msg: expect.stringContaining("the hardware address of the bridge br0 is 02:00:00:00:00:77") },
    });
  });
});

test("concurrent ADDs, with gateways and on layer 2, report one address, which the bridge keeps", async () => {
  const COUNT = 20;
  const pods = await bed.emptyPods(COUNT);
  const added = await Promise.all(
    pods.map(({ path }, at) => bridge("ADD", at % 2 === 0 ? conf() : LAYER_2, { containerId: `m${at}`, netns: path })),
  );
  expect(added.map(({ status, json }) => (status === 0 ? 0 : json))).toEqual(Array(COUNT).fill(0));
  const kept = await bridgeMac();
  expect(new Set(added.filter((_, at) => at % 2 === 0).map(toldMac))).toEqual(new Set([kept]));
  await plugLow();
  expect(await bridgeMac()).toBe(kept);
});
