import { expect, test } from "vitest";
import { parseNetworkConfig } from "../../pkg/cni/network.ts";
import { renderDelegate } from "./rendering.ts";
import { parseSubnetEnv } from "./subnet-env.ts";

const env = parseSubnetEnv(
  "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.1.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n",
);
const ipam = { type: "host-local", ranges: [[{ subnet: "10.244.1.0/24" }]], routes: [{ dst: "10.244.0.0/16" }] };

function render(config: object, from: "env" | "nothing" = "env") {
  const text = JSON.stringify({ cniVersion: "1.0.0", name: "cbr0", type: "flannel", ...config });
  return renderDelegate(parseNetworkConfig(new TextEncoder().encode(text)), from === "env" ? env : undefined);
}

test("the default is a bridge that is the gateway, with the values of flanneld's file", () => {
  expect(render({})).toEqual({
    type: "bridge",
    config: { name: "cbr0", cniVersion: "1.0.0", type: "bridge", ipMasq: false, mtu: 1450, isGateway: true, ipam },
  });
});

test("keeps the keys of delegate, and adds only missing ones", () => {
  const { config } = render({ delegate: { hairpinMode: true, isDefaultGateway: true, mtu: 1400, ipMasq: true } });
  expect(config).toMatchObject({ hairpinMode: true, isDefaultGateway: true, mtu: 1400, ipMasq: true, isGateway: true });
});

test("adds no keys of bridge for another delegate", () => {
  const { type, config } = render({ delegate: { type: "ipvlan", master: "eth0" } });
  expect([type, config.type, config.isGateway]).toEqual(["ipvlan", "ipvlan", undefined]);
});

test("passes flannel's ipam to the delegate, with this node's subnet and the networks' routes", () => {
  const { config } = render({ ipam: { dataDir: "/d", routes: [{ dst: "0.0.0.0/0" }] } });
  expect(config.ipam).toEqual({ ...ipam, dataDir: "/d", routes: [{ dst: "0.0.0.0/0" }, { dst: "10.244.0.0/16" }] });
});

test("passes on the runtime's keys", () => {
  const added = {
    runtimeConfig: { mac: "02:00:00:00:00:01" },
    args: { cni: { ips: ["10.244.1.9"] } },
    prevResult: { cniVersion: "1.0.0" },
    "cni.dev/valid-attachments": null,
  };
  expect(render(added).config).toMatchObject(added);
});

test("without flanneld's file, has no range and enables ipMasq", () => {
  const { config } = render({}, "nothing");
  expect(config).toEqual({
    ...{ name: "cbr0", cniVersion: "1.0.0", type: "bridge", ipMasq: true, isGateway: true },
    ipam: { type: "host-local", ranges: [], routes: [] },
  });
});

test.each([
  ["a name", { name: "x" }, /must not have "name"/],
  ["an ipam", { ipam: {} }, /must not have "ipam".*next to/],
  ["itself as type", { type: "flannel" }, /delegate\.type/],
  ["a type that is no text", { type: 1 }, /delegate\.type: expected a string, got 1/],
])("rejects a delegate with %s", (_name, delegate, message) => {
  expect(() => render({ delegate })).toThrow(message);
});
