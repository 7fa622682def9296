/**
 * Each bad input gets a CNI error with the right code and a message that names the fault, exit status 1, and changes
 * nothing.
 */
import { readdirSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { OURS, PluginBed } from "./harness/plugin-bed.ts";

const IPAM = { type: "host-local", ranges: [[{ subnet: "10.22.0.0/24" }]] };
const conf = (more: object = {}) => ({ cniVersion: "1.1.0", name: "net", type: "bridge", ipam: IPAM, ...more });

let bed: PluginBed;
beforeAll(async () => {
  bed = await PluginBed.make();
});
afterAll(() => bed.close());

/** All plugins of the build, so that a new plugin is tested too. */
const PLUGINS = readdirSync(OURS).filter((name) => name !== "weft" && name !== "weftd");

describe.each(PLUGINS)("%s", (plugin) => {
  let before: unknown;
  beforeAll(async () => {
    before = await bed.state();
  });

  const good = () => ({
    CNI_COMMAND: "ADD",
    CNI_CONTAINERID: "c1",
    CNI_NETNS: bed.podNamespace.path,
    CNI_IFNAME: "eth0",
    CNI_PATH: OURS,
  });
  const prevResult = { cniVersion: "1.1.0", interfaces: [], ips: [] };

  test.each([
    ["broken JSON", "{", {}, 6, /position|line|JSON/i],
    ["JSON that is not an object", "[1]", {}, 6, /object/],
    ["empty input", "", {}, 6, /end of the text/],
    ["a missing name", conf({ name: undefined }), {}, 7, /name/],
    ["an invalid name", conf({ name: "a/b" }), {}, 7, /name.*a\/b/],
    ["an unknown version", conf({ cniVersion: "9.9.9" }), {}, 1, /9\.9\.9/],
    ["an unknown verb", conf(), { CNI_COMMAND: "FETCH" }, 4, /CNI_COMMAND.*FETCH/],
    ["a missing container id", conf(), { CNI_CONTAINERID: undefined }, 4, /CNI_CONTAINERID/],
    ["several missing variables", conf(), { CNI_IFNAME: undefined, CNI_PATH: undefined }, 4, /CNI_IFNAME.*CNI_PATH/],
    ["an interface name that is too long", conf(), { CNI_IFNAME: "a".repeat(16) }, 4, /CNI_IFNAME/],
    ["an invalid container id", conf(), { CNI_CONTAINERID: "../c1" }, 4, /CNI_CONTAINERID/],
  ])("rejects %s", async (_name, input, changes, code, message) => {
    const env = Object.fromEntries(
      Object.entries({ ...good(), ...changes }).filter(([, value]) => value !== undefined),
    ) as Record<string, string>;
    const withPrevious = typeof input === "string" ? input : { ...input, prevResult };
    const answer = await bed.call(OURS, plugin, "", withPrevious, { env });
    expect(answer.json).toMatchObject({ code, msg: expect.stringMatching(message), cniVersion: expect.any(String) });
    expect(answer.status).toBe(1);
  });

  test("the rejected calls change nothing on the node or in the pod", async () => {
    expect(await bed.state()).toEqual(before);
  });
});

describe("bridge", () => {
  test.each([
    [
      "a subnet with host bits",
      { ipam: { type: "host-local", ranges: [[{ subnet: "10.22.0.5/24" }]] } },
      {},
      7,
      /subnet.*10\.22\.0\.0\/24/,
    ],
    [
      "a gateway of the other family",
      { ipam: { type: "host-local", ranges: [[{ subnet: "10.22.0.0/24", gateway: "fd00::1" }]] } },
      {},
      7,
      /gateway/,
    ],
    ["an MTU that is not a number", { mtu: "big" }, {}, 7, /^mtu: .*"big"/],
    ["an MTU too small for IP", { mtu: 20 }, {}, 7, /^mtu/],
    ["hairpin and promiscuous mode together", { hairpinMode: true, promiscMode: true }, {}, 7, /promiscMode/],
    ["an unknown backend", { ipMasq: true, ipMasqBackend: "ebpf" }, {}, 7, /^ipMasqBackend: .*"ebpf"/],
    ["an invalid bridge name", { bridge: "a b" }, {}, 7, /^bridge/],
    ["a multicast MAC", { runtimeConfig: { mac: "01:00:5e:00:00:01" } }, {}, 7, /mac/],
    [
      "a namespace that is a plain file",
      {},
      { netns: "/etc/passwd" },
      4,
      /CNI_NETNS.*\/etc\/passwd.*not a network namespace/,
    ],
    ["a namespace that does not exist", {}, { netns: "/run/netns/weft-test-nobody" }, 4, /CNI_NETNS.*weft-test-nobody/],
    ["the host's own namespace", {}, { netns: "/proc/self/ns/net" }, 8, /CNI_NETNS/],
  ])("rejects %s", async (_name, more, options, code, message) => {
    const before = await bed.state();
    const answer = await bed.call(OURS, "bridge", "ADD", conf(more), options);
    expect(answer).toMatchObject({ status: 1, json: { code, msg: expect.stringMatching(message) } });
    expect(await bed.state()).toEqual(before);
  });
});

test("on a node where weftd never ran, vxlan's ADD says try again later and STATUS says not available", async () => {
  const prevResult = { cniVersion: "1.1.0", interfaces: [], ips: [] };
  const configuration = { cniVersion: "1.1.0", name: "net", type: "vxlan", runDir: "/nonexistent", prevResult };
  expect(await bed.call(OURS, "vxlan", "ADD", configuration)).toMatchObject({
    status: 1,
    json: { code: 11, msg: expect.stringContaining("weftd has not served") },
  });
  expect(await bed.call(OURS, "vxlan", "STATUS", configuration)).toMatchObject({ status: 1, json: { code: 50 } });
  expect(await bed.call(OURS, "vxlan", "DEL", configuration)).toMatchObject({ status: 0, output: "" });
});
