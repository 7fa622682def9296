import { expect, test } from "vitest";
import { formatAddress, parseAddress } from "../../ip/address.ts";
import type { Frontend } from "../frontend.ts";
import { localhostForwards } from "./forwards.ts";

const NODE_PORT = 30_080;

function frontend(kind: Frontend["kind"], address: string, more: Partial<Frontend> = {}): Frontend {
  return {
    ...{ kind, address: parseAddress(address), protocol: 6, port: kind === "NodePort" ? NODE_PORT : 80 },
    ...{ service: "default/web", portName: "http", nodePort: NODE_PORT, policy: "cluster", localEndpoints: [] },
    endpoints: [{ address: parseAddress("fd00::2"), port: 8080, isLocal: true }],
    ...{ withoutEndpoint: undefined, allowedSources: undefined, affinity: undefined },
    ...more,
  };
}

const CLUSTER_IP = frontend("ClusterIP", "fd00:96::1");
const NODE_PORT_FRONTEND = frontend("NodePort", "2001:db8::1");
const targets = (...frontends: readonly Frontend[]) =>
  [...localhostForwards(frontends)].map(([key, { to }]) => `${key} -> [${formatAddress(to.address)}]:${to.port}`);

test("forwards a NodePort to the ClusterIP if the node has no IPv6 NodePort address", () => {
  expect(targets(CLUSTER_IP)).toEqual(["6 30080 -> [fd00:96::1]:80"]);
});

test("prefers a NodePort address, which has the external traffic policy, and the lowest of several", () => {
  const other = frontend("NodePort", "2001:db8::9");
  for (const frontends of [
    [CLUSTER_IP, NODE_PORT_FRONTEND, other],
    [other, CLUSTER_IP, NODE_PORT_FRONTEND],
    [NODE_PORT_FRONTEND, other, CLUSTER_IP],
  ])
    expect(targets(...frontends)).toEqual(["6 30080 -> [2001:db8::1]:30080"]);
});

test("forwards UDP and TCP ports separately", () => {
  expect(targets(CLUSTER_IP, frontend("ClusterIP", "fd00:96::1", { protocol: 17 }))).toEqual([
    "6 30080 -> [fd00:96::1]:80",
    "17 30080 -> [fd00:96::1]:80",
  ]);
});

test.each([
  ["without a NodePort", frontend("ClusterIP", "fd00:96::1", { nodePort: undefined })],
  ["of IPv4", frontend("ClusterIP", "10.96.0.1")],
  ["without endpoints, so that the kernel refuses connections", frontend("ClusterIP", "fd00:96::1", { endpoints: [] })],
  ["at addresses of load balancers", frontend("LoadBalancerIP", "2001:db8:1::1")],
  ["of SCTP", frontend("ClusterIP", "fd00:96::1", { protocol: 132 })],
])("does not forward to frontends %s", (_what, one) => {
  expect(targets(one)).toEqual([]);
});
