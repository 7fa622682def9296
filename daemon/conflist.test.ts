import { expect, test } from "vitest";
import { parseSubnet } from "../pkg/ip/prefix.ts";
import { type ConflistSettings, formatConflist } from "./conflist.ts";

const settings: ConflistSettings = {
  subnets: [parseSubnet("10.244.1.0/24")],
  networks: [parseSubnet("10.244.0.0/16"), parseSubnet("fd00:10:244::/56")],
  mtu: 1450,
  backend: "vxlan",
  runDir: "/run/weft",
};

test("a conflist of one family is bridge with host-local, then the backend", () => {
  expect(JSON.parse(formatConflist(settings))).toEqual({
    cniVersion: "1.0.0",
    cniVersions: ["0.3.1", "0.4.0", "1.0.0", "1.1.0"],
    name: "cbr0",
    plugins: [
      {
        type: "bridge",
        bridge: "cni0",
        mtu: 1450,
        isDefaultGateway: true,
        hairpinMode: true,
        ipMasq: false,
        ipam: {
          type: "host-local",
          ranges: [[{ subnet: "10.244.1.0/24" }]],
          routes: [{ dst: "10.244.0.0/16" }],
        },
      },
      { type: "vxlan", runDir: "/run/weft" },
    ],
  });
});

test("with both families, each has a range set and a route", () => {
  const { plugins } = JSON.parse(
    formatConflist({
      ...settings,
      backend: "host-gw",
      subnets: [...settings.subnets, parseSubnet("fd00:10:244:1::/64")],
    }),
  );
  expect(plugins[0].ipam).toEqual({
    type: "host-local",
    ranges: [[{ subnet: "10.244.1.0/24" }], [{ subnet: "fd00:10:244:1::/64" }]],
    routes: [{ dst: "10.244.0.0/16" }, { dst: "fd00:10:244::/56" }],
  });
  expect(plugins[1].type).toBe("host-gw");
});

test("the same settings always give the same text", () => {
  expect(formatConflist({ ...settings })).toBe(formatConflist(settings));
});
