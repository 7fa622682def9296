import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { addressFromBytes } from "../ip/address.ts";
import { ConfigObject } from "./config.ts";
import { decodeResult, EMPTY_RESULT, encodeResult, formatResult, type Result } from "./result.ts";
import { VERSIONS, type Version } from "./versions.ts";

/** A result of bridge for containerd, with every key that exists in any version. */
const full = {
  cniVersion: "1.1.0",
  interfaces: [
    { name: "cni0", mac: "c6:58:6d:fe:07:ea", mtu: 1450 },
    { name: "veth8d5f417f", mac: "9e:9d:9c:42:52:6d" },
    { name: "eth0", mac: "0e:60:76:68:04:53", sandbox: "/run/netns/a", socketPath: "/s", pciID: "0000:04:00.5" },
  ],
  ips: [
    { interface: 2, address: "10.244.0.2/24", gateway: "10.244.0.1" },
    { interface: 2, address: "fd00::2/64" },
  ],
  routes: [{ dst: "0.0.0.0/0", gw: "10.244.0.1", mtu: 1400, table: 100, scope: 0 }, { dst: "fd01::/64" }],
  dns: { nameservers: ["10.0.0.10"], domain: "cluster.local", search: ["a", "b"], options: ["ndots:5"] },
};

const decode = (json: object, version: Version = "1.1.0"): Result =>
  decodeResult(new ConfigObject(json as Record<string, unknown>), version);

describe("a result", () => {
  test("of 1.1.0 is the same after decoding and encoding", () => {
    expect(encodeResult(decode(full), "1.1.0")).toEqual(full);
  });

  test("of 1.0.0 differs only in its version", () => {
    expect(encodeResult(decode(full), "1.0.0")).toEqual({ ...full, cniVersion: "1.0.0" });
  });

  test.each(["0.3.0", "0.3.1", "0.4.0"] as const)(
    "of %s has a family in ips and fewer keys in interfaces",
    (version) => {
      expect(encodeResult(decode(full), version)).toEqual({
        ...full,
        cniVersion: version,
        interfaces: [
          { name: "cni0", mac: "c6:58:6d:fe:07:ea" },
          { name: "veth8d5f417f", mac: "9e:9d:9c:42:52:6d" },
          { name: "eth0", mac: "0e:60:76:68:04:53", sandbox: "/run/netns/a" },
        ],
        ips: [
          { version: "4", interface: 2, address: "10.244.0.2/24", gateway: "10.244.0.1" },
          { version: "6", interface: 2, address: "fd00::2/64" },
        ],
      });
    },
  );

  test.each(["0.1.0", "0.2.0"] as const)("of %s has the first address of each family", (version) => {
    const second = { address: "10.99.0.2/24", gateway: "10.99.0.1" };
    expect(encodeResult(decode({ ...full, ips: [...full.ips, second] }), version)).toEqual({
      cniVersion: version,
      ip4: {
        ip: "10.244.0.2/24",
        gateway: "10.244.0.1",
        routes: [{ dst: "0.0.0.0/0", gw: "10.244.0.1" }],
      },
      ip6: { ip: "fd00::2/64", routes: [{ dst: "fd01::/64" }] },
      dns: full.dns,
    });
  });

  test.each(["0.1.0", "0.2.0"] as const)("without addresses cannot be encoded in %s", (version) => {
    expect(() => encodeResult(EMPTY_RESULT, version)).toThrow(expect.objectContaining({ code: 1 }));
  });

  test("of 0.2.0 is decoded with the address's gateway for routes without one", () => {
    const old = { ip4: { ip: "10.0.0.2/24", gateway: "10.0.0.1", routes: [{ dst: "0.0.0.0/0" }] } };
    expect(encodeResult(decode(old, "0.2.0"), "1.1.0")).toEqual({
      cniVersion: "1.1.0",
      ips: [{ address: "10.0.0.2/24", gateway: "10.0.0.1" }],
      routes: [{ dst: "0.0.0.0/0", gw: "10.0.0.1" }],
    });
  });

  test("without a version uses the configuration's", () => {
    expect(decode({ ip4: { ip: "10.0.0.2/24" } }, "0.1.0").ips).toHaveLength(1);
    expect(decode({ ip4: { ip: "10.0.0.2/24" } }, "1.0.0").ips).toHaveLength(0);
  });

  test("is printed indented by four, without empty lists, and with an empty dns only up to 0.4.0", () => {
    expect(formatResult(EMPTY_RESULT, "1.1.0")).toBe('{\n    "cniVersion": "1.1.0"\n}');
    expect(formatResult(EMPTY_RESULT, "1.0.0")).not.toMatch(/dns/);
    expect(formatResult(EMPTY_RESULT, "0.4.0")).toBe('{\n    "cniVersion": "0.4.0",\n    "dns": {}\n}');
  });

  test("has sorted keys since 1.0.0 and the specification's order before", () => {
    const keysOf = (text: string) => [...text.matchAll(/"([A-Za-z]+)":/g)].map(([, key]) => key).join(" ");
    const small = { ips: full.ips.slice(0, 1), routes: full.routes.slice(0, 1), dns: full.dns };
    expect(keysOf(formatResult(decode(small), "1.0.0"))).toBe(
      "cniVersion dns domain nameservers options search ips address gateway interface routes dst gw mtu scope table",
    );
    expect(keysOf(formatResult(decode(small), "0.4.0"))).toBe(
      "cniVersion ips version interface address gateway routes dst gw mtu table scope dns nameservers domain search options",
    );
  });

  test("is the same after conversion through every version that can represent it", () => {
    const address = fc.uint8Array({ minLength: 4, maxLength: 4 }).map(addressFromBytes);
    const prefix = fc.record({ address, length: fc.integer({ min: 0, max: 32 }) });
    const simple = fc.record({
      interfaces: fc.constant([]),
      ips: fc.array(fc.record({ address: prefix, gateway: address }), { minLength: 1, maxLength: 1 }),
      routes: fc.array(fc.record({ dst: prefix, gw: address })),
      dns: fc.constant({ nameservers: ["10.0.0.10"] }),
    });
    fc.assert(
      fc.property(simple, fc.constantFrom(...VERSIONS), (result, version) => {
        expect(decode(JSON.parse(formatResult(result, version)), "1.1.0")).toEqual(result);
      }),
    );
  });
});

describe("a result is refused with the key's path", () => {
  test.each([
    [{ ips: [{ address: "10.0.0.2" }] }, 7, 'ips[0].address: "10.0.0.2" is not a prefix'],
    [{ ips: [{}] }, 7, "ips[0].address: expected an address with a prefix length, got nothing"],
    [{ ips: [{ address: "10.0.0.2/24", interface: -1 }] }, 7, "ips[0].interface"],
    [{ routes: [{ dst: "default" }] }, 7, "routes[0].dst"],
    [{ interfaces: "eth0" }, 7, "interfaces: expected a list"],
    [{ cniVersion: "9.9.9" }, 1, '"9.9.9"'],
  ])("%j", (json, code, message) => {
    expect(() => decode(json)).toThrow(expect.objectContaining({ code, message: expect.stringContaining(message) }));
  });
});
