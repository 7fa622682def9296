import { describe, expect, test } from "vitest";
import { formatPrefix } from "../ip/prefix.ts";
import { parseNetConf } from "./net-conf.ts";

const read = (object: unknown) => parseNetConf(JSON.stringify(object));
const vxlan = (backend: object) => read({ Network: "10.244.0.0/16", Backend: { Type: "vxlan", ...backend } });
/** The node's own settings, and those it needs to send to vxlan peers. */
const backendOf = ({ backend, others }: ReturnType<typeof read>) => ({ ...others.get("vxlan"), ...backend });
const HOST_GW = { type: "host-gw", vni: 1, port: 8472 };

test.each([
  ["that is left out", undefined],
  ["empty", {}],
  ["auto", { Type: "auto" }],
])("a backend %s means VXLAN with plain routes on the link", (_name, Backend) => {
  expect(read({ Network: "10.244.0.0/16", Backend }).backend).toEqual({
    ...{ type: "vxlan", vni: 1, port: 8472, underlayMtu: undefined, directRouting: true },
  });
});

test("host-gw reads VNI and port for peers that still have vxlan", () => {
  const conf = read({ Network: "10.244.0.0/16", Backend: { Type: "host-gw", VNI: 7, Port: 4789 } });
  expect(backendOf(conf)).toEqual({ type: "host-gw", vni: 7, port: 4789 });
});

test("flannel's usual configuration means VNI 1 and port 8472", () => {
  const conf = read({ Network: "10.244.0.0/16", EnableNFTables: false, Backend: { Type: "vxlan" } });
  expect(conf.networks.map(formatPrefix)).toEqual(["10.244.0.0/16"]);
  expect(conf.backend).toEqual({ type: "vxlan", vni: 1, port: 8472, underlayMtu: undefined, directRouting: false });
  expect(conf.warnings).toEqual([expect.stringContaining("EnableNFTables has no effect")]);
});

test("reads all of vxlan's keys; 0 means the default, as in flannel", () => {
  expect(vxlan({ VNI: 4096, Port: 4789, MTU: 9000, DirectRouting: true }).backend).toEqual({
    ...{ type: "vxlan", vni: 4096, port: 4789, underlayMtu: 9000, directRouting: true },
  });
  expect(vxlan({ Port: 0, MTU: 0 }).backend).toMatchObject({ port: 8472, underlayMtu: undefined });
});

test("reads both families", () => {
  const conf = read({
    Network: "10.244.0.0/16",
    EnableIPv6: true,
    IPv6Network: "fd00:10:244::/56",
    Backend: { Type: "host-gw" },
  });
  expect(conf.networks.map(formatPrefix)).toEqual(["10.244.0.0/16", "fd00:10:244::/56"]);
  expect(backendOf(conf)).toEqual(HOST_GW);
});

test("matches keys case-insensitively", () => {
  expect(backendOf(read({ network: "10.244.0.0/16", backend: { type: "host-gw" } }))).toEqual(HOST_GW);
});

test("matches the backend's type case-insensitively and clears a network's host bits, as flannel does", () => {
  const conf = read({
    ...{ Network: "10.244.1.5/16", EnableIPv6: true, IPv6Network: "fd00:10:244:1::5/56" },
    Backend: { Type: "VXLAN", VNI: 7 },
  });
  expect(conf.networks.map(formatPrefix)).toEqual(["10.244.0.0/16", "fd00:10:244::/56"]);
  expect(conf.backend).toMatchObject({ type: "vxlan", vni: 7, directRouting: false });
  expect(conf.warnings).toEqual([
    "Network: 10.244.1.5/16 has host bits set: using 10.244.0.0/16",
    "IPv6Network: fd00:10:244:1::5/56 has host bits set: using fd00:10:244::/56",
  ]);
});

test("warns about unknown keys, each with its path", () => {
  const conf = read({ Network: "10.244.0.0/16", Colour: 1, Backend: { Type: "host-gw", MTU: 1 } });
  expect(conf.warnings).toEqual(["Colour is unknown and ignored", "Backend.MTU is unknown and ignored"]);
});

describe("parseNetConf names the key if it refuses", () => {
  test.each([
    ["broken JSON", "{", 6, /net-conf\.json/],
    ["no network", { Backend: { Type: "vxlan" } }, 7, /^Network: /],
    ["a network of the wrong family", { Network: "fd00::/56", Backend: { Type: "vxlan" } }, 7, /^Network: .*IPv4/],
    ["a backend that is not an object", { Network: "10.244.0.0/16", Backend: "vxlan" }, 7, /^Backend: /],
    ["another backend", { Network: "10.244.0.0/16", Backend: { Type: "udp" } }, 7, /^Backend\.Type: .*got "udp"/],
    ["a VNI of 25 bits", { Network: "10.244.0.0/16", Backend: { Type: "vxlan", VNI: 2 ** 24 } }, 7, /^Backend\.VNI: /],
    [
      "a VNI too long for the device's name",
      { Network: "10.244.0.0/16", Backend: { Type: "vxlan", VNI: 10_000_000 } },
      7,
      /^Backend\.VNI: .*to 9999999, got 10000000/,
    ],
    [
      "a VNI too long for the IPv6 device's name",
      {
        ...{ Network: "10.244.0.0/16", EnableIPv6: true, IPv6Network: "fd00::/56" },
        Backend: { Type: "vxlan", VNI: 10_000 },
      },
      7,
      /^Backend\.VNI: .*to 9999, got 10000/,
    ],
    [
      "a port beyond 65535",
      { Network: "10.244.0.0/16", Backend: { Type: "vxlan", Port: 70_000 } },
      7,
      /^Backend\.Port: /,
    ],
    [
      "an MTU that is too small",
      { Network: "10.244.0.0/16", Backend: { Type: "vxlan", MTU: 50 } },
      7,
      /^Backend\.MTU: /,
    ],
    ["learning", { Network: "10.244.0.0/16", Backend: { Type: "vxlan", Learning: true } }, 7, /^Backend\.Learning: /],
    ["GBP", { Network: "10.244.0.0/16", Backend: { Type: "vxlan", GBP: true } }, 7, /^Backend\.GBP: /],
    [
      "IPv6 without its network",
      { Network: "10.244.0.0/16", EnableIPv6: true, Backend: { Type: "host-gw" } },
      7,
      /^IPv6Network: /,
    ],
    ["no family at all", { EnableIPv4: false, Backend: { Type: "host-gw" } }, 7, /^EnableIPv6: /],
  ])("%s", (_name, conf, code, message) => {
    const text = typeof conf === "string" ? conf : JSON.stringify(conf);
    expect(() => parseNetConf(text)).toThrow(
      expect.objectContaining({ code, message: expect.stringMatching(message) }),
    );
  });
});
