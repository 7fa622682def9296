/** A runtime in a container without privileges: /proc/sys is read-only, and forwarding was enabled from outside. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type CallOptions, OURS, PluginBed } from "./harness/plugin-bed.ts";

const V4 = [[{ subnet: "10.22.0.0/24" }]];
const DUAL = [...V4, [{ subnet: "fd00:22::/64" }]];
const conf = (type: string, ranges: object, more: object = {}) => ({
  ...{ cniVersion: "1.1.0", name: "net", type, ipMasq: true, ipam: { type: "host-local", ranges } },
  ...more,
});
const BRIDGE = { isDefaultGateway: true };
const FORWARDING = ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"];

let bed: PluginBed;
beforeEach(async () => {
  bed = await PluginBed.make();
});
afterEach(() => bed.close());

/** The node's agent and its children have a private mount namespace. */
async function makeReadOnly(...settings: readonly string[]): Promise<void> {
  if (settings.length > 0) await bed.node.succeed("sysctl", ["-qw", ...settings]);
  await bed.node.succeed("sh", ["-c", "mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys"]);
}

const call = (verb: string, configuration: { readonly type: string }, options: CallOptions = {}) =>
  bed.call(OURS, configuration.type, verb, configuration, options);

describe.each([
  ["bridge", conf("bridge", DUAL, BRIDGE)],
  ["bridge", conf("bridge", DUAL, { ...BRIDGE, hairpinMode: true, enabledad: true })],
  ["ptp", conf("ptp", DUAL)],
])("%s", (_type, configuration) => {
  test("attaches pods of both families if forwarding is on", async () => {
    await makeReadOnly(...FORWARDING);
    const added = await call("ADD", configuration);
    expect(added).toMatchObject({ status: 0 });
    for (const address of ["10.22.0.2", "fd00:22::2"]) expect(await bed.node.pings(address, 10)).toBe(true);
    expect(await call("CHECK", { ...configuration, prevResult: added.json } as typeof configuration)).toMatchObject({
      status: 0,
    });
    expect(await call("DEL", configuration)).toMatchObject({ status: 0 });
  });
});

test.each([
  ["bridge", "net.ipv4.ip_forward", conf("bridge", V4, BRIDGE)],
  ["ptp", "net.ipv4.ip_forward", conf("ptp", V4)],
  ["bridge", "net.ipv6.conf.all.forwarding", conf("bridge", [[{ subnet: "fd00:22::/64" }]], BRIDGE)],
])("%s names the setting to make from outside: %s", async (_type, setting, configuration) => {
  await makeReadOnly(`${setting}=0`);
  expect(await call("ADD", configuration)).toMatchObject({
    status: 1,
    json: {
      code: 999,
      msg: expect.stringMatching(`${setting} is 0 and must be 1.*EROFS.*set ${setting}=1 for this container`),
    },
  });
  expect(await bed.reservations()).toBe("");
});

describe("portmap", () => {
  const ports = (addedBefore: object) => ({
    ...{ cniVersion: "1.1.0", name: "net", type: "portmap", prevResult: addedBefore },
    runtimeConfig: { portMappings: [{ hostPort: 8080, containerPort: 80, protocol: "tcp" }] },
  });

  test("serves ports if connections from loopback are allowed on all devices", async () => {
    await makeReadOnly(...FORWARDING, "net.ipv4.conf.all.route_localnet=1");
    const { json } = await call("ADD", conf("bridge", V4, BRIDGE));
    const configuration = ports(json);
    expect(await call("ADD", configuration)).toMatchObject({ status: 0 });
    await bed.pod.listen(80);
    expect(await bed.node.seenBy("127.0.0.1", 8080)).toBe("10.22.0.1");
    expect(await call("CHECK", configuration)).toMatchObject({ status: 0 });
  });

  test("names that setting if they are not", async () => {
    await makeReadOnly(...FORWARDING);
    const { json } = await call("ADD", conf("bridge", V4, BRIDGE));
    expect(await call("ADD", ports(json))).toMatchObject({
      status: 1,
      json: { msg: expect.stringContaining("set net.ipv4.conf.all.route_localnet=1 for this container") },
    });
    expect(await bed.node.succeed("nft", ["list", "ruleset"])).not.toContain("8080");
  });
});
