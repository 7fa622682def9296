/** loopback, read back with iproute2. test/differential compares it with the reference. */
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { OURS, PluginBed } from "./harness/plugin-bed.ts";

const conf = (more: object = {}) => ({ cniVersion: "1.1.0", name: "lo-net", type: "loopback", ...more });
const options = { ifName: "lo" };

let bed: PluginBed;
beforeAll(async () => {
  bed = await PluginBed.make();
});
beforeEach(() => bed.pod.succeed("ip", ["link", "set", "lo", "down"]));
afterAll(() => bed.close());

const loopback = (verb: string, input: unknown = conf(), more: object = {}) =>
  bed.call(OURS, "loopback", verb, input, { ...options, ...more });

// The reference prints these versions' results in a later version's format.
test.each(["0.1.0", "0.2.0"])("a result of CNI %s has one address of each family", async (cniVersion) => {
  expect((await loopback("ADD", conf({ cniVersion }))).json).toEqual({
    ...{ cniVersion, ip4: { ip: "127.0.0.1/8" }, ip6: { ip: "::1/128" } },
  });
});

test("CHECK detects that lo is down", async () => {
  const { json: prevResult } = await loopback("ADD");
  expect(await loopback("CHECK", conf({ prevResult }))).toMatchObject({ status: 0, output: "" });
  await bed.pod.succeed("ip", ["link", "set", "lo", "down"]);
  expect(await loopback("CHECK", conf({ prevResult }))).toMatchObject({
    status: 1,
    json: { msg: expect.stringContaining("lo") },
  });
});

test.each([
  ["a second time", {}],
  ["without a namespace", { netns: "" }],
  ["of a namespace that is gone", { netns: "/run/netns/weft-test-nobody" }],
])("DEL %s succeeds", async (_name, more) => {
  await loopback("ADD");
  await loopback("DEL");
  expect(await loopback("DEL", conf(), more)).toEqual({ status: 0, output: "", json: undefined });
});

test("STATUS and GC succeed without work", async () => {
  expect(await loopback("STATUS")).toMatchObject({ status: 0, output: "" });
  expect(await loopback("GC", conf({ "cni.dev/valid-attachments": [] }))).toMatchObject({ status: 0, output: "" });
});
