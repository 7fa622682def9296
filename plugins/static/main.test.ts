import { describe, expect, test } from "vitest";
import { runPlugin } from "../../pkg/cni/loop.ts";
import { FakeSystem } from "../../pkg/sys/fake.ts";
import { plugin } from "./main.ts";

const ADDRESSES = [{ address: "10.1.0.2/24", gateway: "10.1.0.1" }, { address: "fd00::2/64" }];

function call(verb: string, ipam: object | undefined, more: object = {}, args = "") {
  const system = new FakeSystem({
    input: JSON.stringify({ cniVersion: "1.1.0", name: "net", type: "bridge", ipam, ...more }),
    environment: {
      ...{ CNI_COMMAND: verb, CNI_CONTAINERID: "c1", CNI_NETNS: "/run/netns/a", CNI_IFNAME: "eth0" },
      ...{ CNI_PATH: "/opt/cni/bin", CNI_ARGS: args },
    },
  });
  const status = runPlugin(plugin, system);
  return { status, answer: system.output === "" ? undefined : JSON.parse(system.output) };
}

const ips = (answer: { readonly ips: { address: string; gateway?: string }[] }) =>
  answer.ips.map(({ address, gateway }) => (gateway === undefined ? address : `${address} via ${gateway}`));

describe("the addresses", () => {
  const args = { args: { cni: { ips: ["10.3.0.5/24"] } } };
  const runtime = { runtimeConfig: { ips: ["10.4.0.5/24", "fd01::1/64"] } };
  test.each([
    ["of the configuration", {}, "", ["10.1.0.2/24 via 10.1.0.1", "fd00::2/64"]],
    [
      "of CNI_ARGS, after those of the configuration",
      {},
      "IP=10.2.0.5/24, 10.2.0.6/24",
      ["10.1.0.2/24 via 10.1.0.1", "fd00::2/64", "10.2.0.5/24", "10.2.0.6/24"],
    ],
    [
      "of CNI_ARGS, with the gateways in their networks",
      {},
      "IP=10.2.0.5/24,fd02::5/64;GATEWAY=10.2.0.1,fd02::1,fd00::1,192.0.2.1",
      ["10.1.0.2/24 via 10.1.0.1", "fd00::2/64", "10.2.0.5/24 via 10.2.0.1", "fd02::5/64 via fd02::1"],
    ],
    ["of args.cni.ips, instead of these", args, "IP=10.2.0.5/24", ["10.3.0.5/24"]],
    ["of the runtime, instead of all others", { ...args, ...runtime }, "IP=10.2.0.5/24", ["10.4.0.5/24", "fd01::1/64"]],
  ])("%s", (_name, more, cniArgs, expected) => {
    const { status, answer } = call("ADD", { type: "static", addresses: ADDRESSES }, more, cniArgs);
    expect(status).toBe(0);
    expect(ips(answer)).toEqual(expected);
  });
});

test("passes on routes and DNS; the result may have no addresses", () => {
  const routes = [{ dst: "0.0.0.0/0", gw: "10.1.0.9" }];
  const dns = { nameservers: ["10.1.0.53"], search: ["a.test"] };
  expect(call("ADD", { routes, dns }).answer).toEqual({ cniVersion: "1.1.0", routes, dns });
});

const told = (gateway?: string) => ({
  prevResult: { cniVersion: "1.1.0", ips: [{ address: "10.1.0.2/24", gateway }, { address: "fd00::2/64" }] },
});

test.each([
  ["ADD", "no ipam", undefined, {}, "", 7, /ipam/],
  [
    "ADD",
    "an address without a length",
    { addresses: [{ address: "10.1.0.2" }] },
    {},
    "",
    7,
    /ipam\.addresses\[0\]\.address/,
  ],
  ["ADD", "a missing address", { addresses: [{ gateway: "10.1.0.1" }] }, {}, "", 7, /addresses\[0\]\.address/],
  ["ADD", "an invalid gateway", { addresses: [{ address: "10.1.0.2/24", gateway: "x" }] }, {}, "", 7, /gateway.*"x"/],
  ["ADD", "an IP in CNI_ARGS without a length", {}, {}, "IP=10.2.0.5", 4, /CNI_ARGS: IP.*10\.2\.0\.5/],
  ["ADD", "an invalid GATEWAY", {}, {}, "GATEWAY=x", 4, /CNI_ARGS: GATEWAY.*"x"/],
  [
    "ADD",
    "two addresses of a family in 0.2.0",
    { addresses: [ADDRESSES[0], ADDRESSES[0]] },
    { cniVersion: "0.2.0" },
    "",
    7,
    /0\.2\.0.*IPv4/,
  ],
  ["CHECK", "no prevResult", { addresses: ADDRESSES }, {}, "", 7, /prevResult/],
  [
    "CHECK",
    "an address that is gone",
    { addresses: [{ address: "10.1.0.3/24" }] },
    told(),
    "",
    999,
    /does not have.*10\.1\.0\.3/,
  ],
  [
    "CHECK",
    "another gateway",
    { addresses: ADDRESSES },
    told("10.1.0.7"),
    "",
    999,
    /10\.1\.0\.7.*expected 10\.1\.0\.1/,
  ],
  ["STATUS", "no ipam", undefined, {}, "", 7, /ipam/],
] as const)("%s rejects %s", (verb, _name, ipam, more, args, code, message) => {
  expect(call(verb, ipam, more, args)).toMatchObject({
    status: 1,
    answer: { code, msg: expect.stringMatching(message) },
  });
});

test("CHECK, DEL and STATUS succeed", () => {
  expect(call("CHECK", { addresses: ADDRESSES }, told("10.1.0.1"))).toEqual({ status: 0, answer: undefined });
  expect(call("DEL", undefined)).toEqual({ status: 0, answer: undefined });
  expect(call("STATUS", {})).toEqual({ status: 0, answer: undefined });
});
