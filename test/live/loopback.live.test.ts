/** loopback beside the reference, and read back with iproute2. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type Answer, OURS, PluginBed, REFERENCE } from "./harness/plugin-bed.ts";

const VERSIONS = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];
const conf = (more: object = {}) => ({ cniVersion: "1.1.0", name: "lo-net", type: "loopback", ...more });
const wishes = { ifName: "lo" };

let bed: PluginBed;
beforeAll(async () => {
  bed = await PluginBed.make();
});
beforeEach(() => bed.pod.succeed("ip", ["link", "set", "lo", "down"]));
afterAll(() => bed.close());

const loopback = (verb: string, input: unknown = conf(), more: object = {}) =>
  bed.call(OURS, "loopback", verb, input, { ...wishes, ...more });

async function isUp(): Promise<boolean> {
  const [lo] = await bed.pod.json<{ flags: string[] }[]>("ip", ["-j", "link", "show", "lo"]);
  return lo?.flags.includes("UP") === true;
}

describe("the same as the reference", () => {
  test.each(VERSIONS)("in CNI %s", async (cniVersion) => {
    const configuration = conf({ cniVersion });
    const observe = async (bin: string) => {
      const added = await bed.call(bin, "loopback", "ADD", configuration, wishes);
      const up = await isUp();
      const deleted = await bed.call(bin, "loopback", "DEL", configuration, wishes);
      return { result: normalised(added), up, deleted, upAfterwards: await isUp() };
    };
    expect(await observe(OURS)).toEqual(await observe(REFERENCE));
  });

  test("after another plugin, whose result it passes on", async () => {
    const interfaces = [{ name: "eth0", mac: "0a:00:00:00:00:01", sandbox: bed.podNamespace.path }];
    const prevResult = { cniVersion: "1.1.0", interfaces, ips: [{ address: "10.22.0.2/24", interface: 0 }] };
    const [ours, theirs] = [
      await loopback("ADD", conf({ prevResult })),
      await bed.call(REFERENCE, "loopback", "ADD", conf({ prevResult }), wishes),
    ];
    expect(normalised(ours)).toEqual(normalised(theirs));
  });
});

/** The reference prints an empty `dns` before 1.0.0, and leaves out an address's version, which the address tells. */
function normalised({ status, json }: Answer): unknown {
  return {
    status,
    json: JSON.parse(
      JSON.stringify(json, (key, value) =>
        (key === "dns" && Object.keys(value).length === 0) || key === "version" ? undefined : value,
      ),
    ),
  };
}

// The reference prints these versions' results in a later version's form.
test.each(["0.1.0", "0.2.0"])("a result of CNI %s has one address of each family", async (cniVersion) => {
  expect((await loopback("ADD", conf({ cniVersion }))).json).toEqual({
    ...{ cniVersion, ip4: { ip: "127.0.0.1/8" }, ip6: { ip: "::1/128" } },
  });
});

test("CHECK finds lo that was set down", async () => {
  const { json: prevResult } = await loopback("ADD");
  expect(await loopback("CHECK", conf({ prevResult }))).toMatchObject({ status: 0, output: "" });
  await bed.pod.succeed("ip", ["link", "set", "lo", "down"]);
  expect(await loopback("CHECK", conf({ prevResult }))).toMatchObject({
    status: 1,
    json: { msg: expect.stringContaining("lo") },
  });
});

test.each([
  ["once more", {}],
  ["without a namespace", { netns: "" }],
  ["of a namespace that is gone", { netns: "/run/netns/weft-test-nobody" }],
])("DEL %s succeeds", async (_name, more) => {
  await loopback("ADD");
  await loopback("DEL");
  expect(await loopback("DEL", conf(), more)).toEqual({ status: 0, output: "", json: undefined });
});

test("STATUS and GC have nothing to do", async () => {
  expect(await loopback("STATUS")).toMatchObject({ status: 0, output: "" });
  expect(await loopback("GC", conf({ "cni.dev/valid-attachments": [] }))).toMatchObject({ status: 0, output: "" });
});
