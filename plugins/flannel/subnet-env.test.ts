import { expect, test } from "vitest";
import { formatPrefix } from "../../pkg/ip/prefix.ts";
import { parseSubnetEnv, SubnetEnvError } from "./subnet-env.ts";

const IPV4 = "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.1.1/24\n";
const REST = "FLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n";

test("parses flanneld's file for both families", () => {
  const text = `${IPV4}FLANNEL_IPV6_NETWORK=fd00:10:244::/56\nFLANNEL_IPV6_SUBNET=fd00:10:244:1::1/64\n${REST}`;
  const env = parseSubnetEnv(text);
  expect(env.networks.map(formatPrefix)).toEqual(["10.244.0.0/16", "fd00:10:244::/56"]);
  expect(env.subnets.map(formatPrefix)).toEqual(["10.244.1.0/24", "fd00:10:244:1::/64"]);
  expect([env.mtu, env.isMasquerading]).toEqual([1450, true]);
});

test("accepts several networks, unknown keys, and lines without a value", () => {
  const text = `FLANNEL_NETWORK=10.244.0.0/16,10.245.0.0/16\nFLANNEL_SUBNET=10.244.1.1/24\n# by hand\nOTHER=1\n${REST}`;
  expect(parseSubnetEnv(text).networks.map(formatPrefix)).toEqual(["10.244.0.0/16", "10.245.0.0/16"]);
});

test("flanneld masquerades only if the value is true", () => {
  expect(parseSubnetEnv(`${IPV4}FLANNEL_MTU=1450\nFLANNEL_IPMASQ=false`).isMasquerading).toBe(false);
});

test.each([
  [
    "an empty file",
    "",
    /is missing FLANNEL_NETWORK or FLANNEL_IPV6_NETWORK, FLANNEL_SUBNET or .*FLANNEL_MTU, FLANNEL_IPMASQ/,
  ],
  ["no MTU", `${IPV4}FLANNEL_IPMASQ=true`, /is missing FLANNEL_MTU$/],
  ["an invalid subnet", `FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=x\n${REST}`, /FLANNEL_SUBNET: .*"x"/],
  ["an invalid MTU", `${IPV4}FLANNEL_MTU=big\nFLANNEL_IPMASQ=true`, /FLANNEL_MTU: .*"big"/],
])("rejects %s", (_name, text, message) => {
  expect(() => parseSubnetEnv(text)).toThrow(SubnetEnvError);
  expect(() => parseSubnetEnv(text)).toThrow(message);
});
