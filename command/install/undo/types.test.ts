import { expect, test } from "vitest";
import { ConfigObject } from "../../../pkg/cni/config.ts";
import { typesOf } from "./types.ts";

test("includes plugins that other plugins call", () => {
  const plugins = [
    { type: "flannel" },
    { type: "flannel", delegate: { type: "ptp" } },
    { type: "macvlan", ipam: { type: "dhcp" } },
  ].map((values) => new ConfigObject(values));
  expect(typesOf(plugins)).toEqual([
    "flannel",
    "bridge",
    "host-local",
    "flannel",
    "ptp",
    "host-local",
    "macvlan",
    "dhcp",
  ]);
});
