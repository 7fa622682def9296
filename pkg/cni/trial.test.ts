import { expect, test } from "vitest";
import { ConfigObject } from "./config.ts";
import { complaintOf, questionsOf, withoutRepeats } from "./trial.ts";

test("calls each plugin and IPAM plugin with its complete configuration", () => {
  const plugins = [
    { type: "bridge", mtu: 1400, ipam: { type: "host-local" } },
    { type: "portmap", snat: true },
    { type: "calico", ipam: { type: "host-local", subnet: "usePodCidr" } },
  ].map((plugin) => new ConfigObject(plugin));
  const bridge = { type: "bridge", mtu: 1400, ipam: { type: "host-local" }, name: "net", cniVersion: "1.1.0" };
  expect(
    questionsOf("net", plugins, ["bridge", "host-local", "portmap"]).map(({ plugin, input }) => [
      plugin,
      JSON.parse(input),
    ]),
  ).toEqual([
    ["bridge", bridge],
    ["host-local", bridge],
    ["portmap", { type: "portmap", snat: true, name: "net", cniVersion: "1.1.0" }],
  ]);
});

test.each([
  [7, "portmap: markMasqBit: too large"],
  [2, "portmap: markMasqBit: too large"],
  [6, "portmap: markMasqBit: too large"],
  [50, undefined],
  [999, undefined],
])("reports an error with code %i: %s", (code, complaint) => {
  expect(complaintOf("portmap", 1, JSON.stringify({ code, msg: "markMasqBit: too large" }))).toBe(complaint);
});

test("reports nothing for a plugin without an error object", () => {
  expect(complaintOf("portmap", 0, "")).toBeUndefined();
  expect(complaintOf("portmap", 139, "Segmentation fault")).toBeUndefined();
});

test("reports the same text of two plugins once", () => {
  const complaints = ["bridge: ipam: no", "host-local: ipam: no", "portmap: x"].map((text) => ({ text }));
  expect(withoutRepeats(complaints).map(({ text }) => text)).toEqual(["bridge: ipam: no", "portmap: x"]);
});
