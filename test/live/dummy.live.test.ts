/**
 * dummy on a real kernel: addresses that only the pod itself uses, and the errors on a kernel without dummy devices.
 */
import { afterEach, beforeEach, expect, test } from "vitest";
import { describeWhere, kernelCan } from "./harness/kernel.ts";
import { type CallOptions, OURS, PluginBed } from "./harness/plugin-bed.ts";

const canDummy = kernelCan("dummy", "ip link add d0 type dummy");

const DUAL = { type: "host-local", ranges: [[{ subnet: "10.36.0.0/24" }], [{ subnet: "fd00:36::/64" }]] };
const conf = (more: object = {}) => ({ cniVersion: "1.1.0", name: "net", type: "dummy", ipam: DUAL, ...more });

let bed: PluginBed;
beforeEach(async () => {
  bed = await PluginBed.make();
});
afterEach(() => bed.close());

const dummy = (verb: string, input: unknown = conf(), options: CallOptions = {}) =>
  bed.call(OURS, "dummy", verb, input, options);

describeWhere(canDummy)("a pod with a dummy interface", () => {
  test("answers itself at its addresses until DEL", async () => {
    const added = await dummy("ADD");
    expect(added).toMatchObject({
      status: 0,
      json: { interfaces: [{ name: "eth0" }], ips: [{ address: "10.36.0.2/24" }, { address: "fd00:36::2/64" }] },
    });
    const input = { ...conf(), prevResult: added.json };
    expect(await bed.pod.pings("10.36.0.2")).toBe(true);
    expect(await bed.pod.pings("fd00:36::2")).toBe(true);
    expect(await dummy("CHECK", input)).toMatchObject({ status: 0, output: "" });
    await bed.pod.succeed("ip", ["link", "set", "eth0", "down"]);
    expect(await dummy("CHECK", input)).toMatchObject({ status: 1, json: { msg: expect.stringMatching(/is down/) } });
    for (const _ of [1, 2]) expect(await dummy("DEL", input)).toMatchObject({ status: 0, output: "" });
    expect(await bed.pod.json("ip", ["-j", "link", "show", "type", "dummy"])).toEqual([]);
    expect(await bed.reservations()).toBe("");
  });

  test("fails CHECK if another kind of link has the interface's name", async () => {
    const added = await dummy("ADD");
    const instead = "ip link del eth0; ip link add eth0 type veth peer name eth1; ip link set eth0 up";
    await bed.pod.succeed("sh", ["-c", instead]);
    const checked = await dummy("CHECK", { ...conf(), prevResult: added.json });
    expect(checked).toMatchObject({ status: 1, json: { msg: expect.stringMatching(/no dummy but veth/) } });
  });

  test("is unchanged after a failed ADD", async () => {
    const before = await bed.state();
    const ipam = { ...DUAL, routes: [{ dst: "10.9.0.0/16", gw: "10.99.0.1" }] };
    expect(await dummy("ADD", conf({ ipam }))).toMatchObject({ status: 1 });
    expect(await bed.state()).toEqual(before);
  });

  test("passes STATUS", async () => {
    expect(await dummy("STATUS")).toMatchObject({ status: 0, output: "" });
  });
});

describeWhere(!canDummy)("a kernel without dummy devices", () => {
  test("fails ADD, which leaves nothing, and STATUS; both name the module", async () => {
    const before = await bed.state();
    expect(await dummy("ADD")).toMatchObject({ status: 1, json: { msg: expect.stringMatching(/modprobe dummy/) } });
    expect(await bed.state()).toEqual(before);
    expect(await dummy("STATUS")).toMatchObject({ status: 1, json: { code: 50 } });
  });
});

test("without ipam, ADD and STATUS both fail", async () => {
  for (const verb of ["ADD", "STATUS"]) {
    expect(await dummy(verb, conf({ ipam: {} }))).toMatchObject({
      status: 1,
      json: { code: 7, msg: expect.stringMatching(/^ipam: /) },
    });
  }
});
