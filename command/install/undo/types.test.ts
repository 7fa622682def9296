import { expect, test } from "vitest";
import { ConfigObject } from "../../../pkg/cni/config.ts";
import { typesOf } from "./types.ts";

test("types are also those that plugins call in turn", () => {
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
