import { expect, test } from "vitest";
import { formatAddress } from "../ip/address.ts";
import { formatPrefix } from "../ip/prefix.ts";
import { describeHostPort } from "../tables/port-map.ts";
import { type CachedAttachment, parseCachedAttachment } from "./cached.ts";
import { unchecked, wantedRules, withoutForeign } from "./wanted-rules.ts";

type Json = Record<string, unknown>;

const BRIDGE = { type: "bridge", bridge: "cni9", ipMasq: true, macspoofchk: true, ipam: { type: "host-local" } };
const PORTMAP = { type: "portmap", capabilities: { portMappings: true } };
const FIREWALL = { type: "firewall", ingressPolicy: "isolated", iptablesAdminChainName: "ADMIN", backend: "iptables" };
const PORTS = [{ hostPort: 8080, containerPort: 80, protocol: "tcp" }];
const RESULT = {
  cniVersion: "1.0.0",
  interfaces: [
    { name: "cni9", mac: "02:00:00:00:00:01" },
    { name: "veth1", mac: "02:00:00:00:00:02" },
    { name: "eth0", mac: "02:00:00:00:00:AA", sandbox: "/run/netns/c1" },
  ],
  ips: [
    { address: "10.22.0.2/24", interface: 2 },
    { address: "fd00:22::2/64", interface: 2 },
  ],
};

function cached(plugins: readonly Json[], result: Json = RESULT, portMappings: unknown = PORTS): CachedAttachment {
  const config = Buffer.from(JSON.stringify({ cniVersion: "1.0.0", name: "net", plugins })).toString("base64");
  const content = { containerId: "c1", ifName: "eth0", networkName: "net", config, result };
  const file = new TextEncoder().encode(JSON.stringify({ ...content, capabilityArgs: { portMappings } }));
  return parseCachedAttachment(file) as CachedAttachment;
}

function told(...args: Parameters<typeof cached>) {
  const { rules, obstacles } = wantedRules(cached(...args), "vethX");
  return {
    masquerades: rules.masquerades.map(({ address, subnet }) => `${formatAddress(address)} ${formatPrefix(subnet)}`),
    ports: rules.ports.mappings.map(
      (mapping) => `${describeHostPort(mapping)} to ${formatAddress(mapping.target)} ${mapping.targetPort}`,
    ),
    guards: rules.guards.map(({ port, mac }) => `${port} ${mac}`),
    firewall: rules.firewall.pods.map(({ address, bridge }) => `${formatAddress(address)} ${bridge}`),
    policies: [...rules.firewall.policies],
    forward: rules.forward,
    obstacles,
  };
}

test("every part equals what its plugin's ADD writes", () => {
  const { rules } = wantedRules(cached([BRIDGE, PORTMAP, FIREWALL]), "vethX");
  expect(rules.owner).toBe("cni:net/c1/eth0");
  expect(told([BRIDGE, PORTMAP, FIREWALL])).toEqual({
    masquerades: ["10.22.0.2 10.22.0.0/24", "fd00:22::2 fd00:22::/64"],
    ports: ["8080/tcp of any IPv4 address to 10.22.0.2 80", "8080/tcp of any IPv6 address to fd00:22::2 80"],
    guards: ["vethX 02:00:00:00:00:aa"],
    firewall: ["10.22.0.2 cni9", "fd00:22::2 cni9"],
    policies: [["cni9", "isolated"]],
    forward: { adminChain: "ADMIN", usesFirewalld: false },
    obstacles: [],
  });
});

test("wants no rules that the configuration does not enable", () => {
  const nothing = { masquerades: [], ports: [], guards: [], firewall: [], policies: [], obstacles: [] };
  expect(told([{ ...BRIDGE, ipMasq: false, macspoofchk: false }])).toMatchObject(nothing);
  // Without the capability the runtime passes no ports. macvlan has neither key.
  expect(told([{ type: "macvlan", ipMasq: true, macspoofchk: true }, { type: "portmap" }])).toMatchObject(nothing);
});

test("masquerades for flannel's delegate and for ptp as configured", () => {
  const flannel = { type: "flannel", delegate: { ipMasq: true, macspoofchk: true } };
  expect(told([flannel])).toMatchObject({ masquerades: { length: 2 }, guards: { length: 1 } });
  expect(told([{ type: "ptp", ipMasq: true, macspoofchk: true }])).toMatchObject({
    masquerades: { length: 2 },
    guards: [],
  });
});

test("ignores the address of another interface", () => {
  const interfaces = [...RESULT.interfaces, { name: "eth1", mac: "02:00:00:00:00:0b", sandbox: "/run/netns/c1" }];
  const ips = [...RESULT.ips.slice(0, 1), { address: "10.9.0.2/24", interface: 3 }];
  expect(told([BRIDGE, PORTMAP], { ...RESULT, interfaces, ips })).toMatchObject({
    masquerades: ["10.22.0.2 10.22.0.0/24"],
    ports: ["8080/tcp of any IPv4 address to 10.22.0.2 80"],
  });
});

test("reports a part whose configuration cannot be read and keeps the others", () => {
  const { ports, masquerades, obstacles } = told([BRIDGE, PORTMAP, FIREWALL], RESULT, [{ hostPort: 0 }]);
  expect([ports.length, masquerades.length]).toEqual([0, 2]);
  expect(obstacles).toMatchObject([{ owner: "cni:net/c1/eth0", part: "portmap" }]);
  expect(obstacles[0]?.reason).toMatch(/in the runtime's cache: .*protocol/);
});

test("leaves out parts of another program's plugins", () => {
  const { rules } = wantedRules(cached([BRIDGE, PORTMAP, FIREWALL]), "vethX");
  const left = withoutForeign(rules, (plugin) => plugin === "portmap" || plugin === "firewall");
  expect(left).toMatchObject({ masquerades: rules.masquerades, guards: rules.guards });
  expect([left.ports.mappings, left.firewall.pods]).toEqual([[], []]);
  expect(withoutForeign(rules, (plugin) => plugin === "bridge")).toMatchObject({
    ...{ masquerades: [], guards: [], ports: rules.ports, firewall: rules.firewall },
  });
});

test("unreadable configurations count only for weft's plugins, and only if none of their rules exist", () => {
  const { obstacles } = told([BRIDGE, PORTMAP, FIREWALL], RESULT, [{ hostPort: 0 }]);
  const held = new Map([["portmap" as const, new Set(["cni:net/c1/eth0"])]]);
  expect(unchecked(obstacles, new Map())).toEqual(obstacles);
  expect(unchecked(obstacles, new Map(), (plugin) => plugin === "firewall")).toEqual(obstacles);
  expect(unchecked(obstacles, new Map(), (plugin) => plugin === "portmap")).toEqual([]);
  expect(unchecked(obstacles, held)).toEqual([]);
});
