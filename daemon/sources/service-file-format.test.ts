import { describe, expect, test } from "vitest";
import { parseNetConf } from "../../pkg/backend/net-conf.ts";
import { formatAddress } from "../../pkg/ip/address.ts";
import { formatPrefix } from "../../pkg/ip/prefix.ts";
import { parseNodeFile } from "./node-file-format.ts";

const CONF = parseNetConf('{"Network":"10.244.0.0/16","Backend":{"Type":"host-gw"}}');
const NODES = `nodes:
  - { name: n1, podCIDRs: [10.244.1.0/24, "fd00:1::/64"], addresses: [192.0.2.1] }
  - { name: n2, podCIDRs: [10.244.2.0/24], addresses: [192.0.2.2] }
`;
const parse = (text: string) => parseNodeFile(NODES + text, CONF);

const WHOLE = `services:
  - name: shop/web
    clusterIPs: [10.96.0.10, "fd00:96::10"]
    ports:
      - { name: http, port: 80, targetPort: 8080, nodePort: 30080 }
      - { name: dns, port: 53, protocol: UDP }
    endpoints:
      - 10.244.1.5
      - { address: 10.244.9.7, node: n2, ready: false }
      - 192.0.2.2
      - "fd00:1::5"
      - 198.51.100.7
    externalIPs: [203.0.113.1]
    loadBalancerIPs: [203.0.113.2]
    loadBalancerSourceRanges: [198.51.100.0/24]
    internalTrafficPolicy: Local
    externalTrafficPolicy: Local
    sessionAffinitySeconds: 60
    healthCheckNodePort: 30100
  - name: plain
    clusterIPs: [10.96.0.11]
    ports: [{ port: 7 }]
serviceCIDRs: [10.96.0.0/16]
`;

test("a Service equals the one that an API server would return", () => {
  const { services, slices, cidrs } = parse(WHOLE);
  const web = services.get("shop/web");
  expect(web).toMatchObject({
    type: "LoadBalancer",
    ports: [
      { name: "http", protocol: 6, port: 80, nodePort: 30080 },
      { name: "dns", protocol: 17, port: 53, nodePort: 0 },
    ],
    ...{ internalTrafficPolicy: "Local", externalTrafficPolicy: "Local", affinitySeconds: 60 },
    ...{ healthCheckNodePort: 30100, problems: [] },
  });
  expect(web?.clusterIPs.map(formatAddress)).toEqual(["10.96.0.10", "fd00:96::10"]);
  expect([web?.externalIPs, web?.loadBalancerIPs].map((list) => list?.map(formatAddress))).toEqual([
    ["203.0.113.1"],
    ["203.0.113.2"],
  ]);
  expect(web?.sourceRanges.map(formatPrefix)).toEqual(["198.51.100.0/24"]);
  expect([...slices.keys()]).toEqual(["shop/web-ipv4", "shop/web-ipv6"]);
  expect(slices.get("shop/web-ipv4")).toMatchObject({
    ...{ service: "shop/web", family: 4 },
    ports: [
      { name: "http", protocol: 6, port: 8080 },
      { name: "dns", protocol: 17, port: 53 },
    ],
  });
  expect([...cidrs.values()].flatMap((one) => one.cidrs.map(formatPrefix))).toEqual(["10.96.0.0/16"]);
});

test("an endpoint's node is the one that it names, else the one with its address", () => {
  const endpoints = [...parse(WHOLE).slices.values()].flatMap((slice) => slice.endpoints);
  expect(endpoints.map(({ address, nodeName, isReady }) => [formatAddress(address), nodeName, isReady])).toEqual([
    ["10.244.1.5", "n1", true],
    ["10.244.9.7", "n2", false],
    ["192.0.2.2", "n2", true],
    ["198.51.100.7", undefined, true],
    ["fd00:1::5", "n1", true],
  ]);
});

test("a name, an address and a port suffice; an earlier entry counts as older", () => {
  const { services, slices } = parse(WHOLE);
  expect(services.get("default/plain")).toMatchObject({
    ...{ type: "ClusterIP", ports: [{ name: "", port: 7 }], affinitySeconds: undefined, healthCheckNodePort: 0 },
    ...{ internalTrafficPolicy: "Cluster", externalTrafficPolicy: "Cluster" },
  });
  expect([...slices.keys()]).not.toContain("default/plain-ipv4");
  const [first, second] = [...services.values()].map(({ created }) => created);
  expect((first ?? "") < (second ?? "")).toBe(true);
});

test("a file without Services yields no Services and no ServiceCIDRs", () => {
  const { services, slices, cidrs } = parse("");
  expect([services.size, slices.size, cidrs.size]).toEqual([0, 0, 0]);
});

describe("mistakes", () => {
  const web = (more: string) =>
    `services:\n  - name: web\n    clusterIPs: [10.96.0.10]\n    ports: [{ port: 80 }]\n${more}`;
  test.each([
    ["services: []\n", /line 4: services: expected a list with at least one entry/],
    ["services: [web]\n", /line 4: services\[0\]: expected name, clusterIPs/],
    [web("    type: NodePort\n"), /line 8: services\[0\]: unknown key type: known are name, /],
    [web("").replace("web", "a/b/c"), /services\[0\].name: "a\/b\/c": expected namespace\/name/],
    [web("").replace("10.96.0.10", "10.96.0"), /line 6: services\[0\].clusterIPs\[0\]: "10\.96\.0"/],
    [web("").replace("10.96.0.10", "10.96.0.1, 10.96.0.2"), /clusterIPs: expected one of each family/],
    [web("").replace("80", "0"), /line 7: services\[0\].ports\[0\].port: expected a number from 1 to 65535/],
    [web("").replace("port: 80", "name: x"), /services\[0\].ports\[0\].port: expected a number/],
    [web("").replace("80", "80, protocol: tcp"), /services\[0\].ports\[0\].protocol: expected TCP or UDP or SCTP/],
    [web("").replace("{ port: 80 }", "{ port: 80 }, { port: 81 }"), /services\[0\].ports\[0\].name: expected text/],
    [
      web("").replace("{ port: 80 }", "{ name: a, port: 80 }, { name: a, port: 81 }"),
      /services\[0\].ports\[1\].name: "a" is defined twice/,
    ],
    [web("    endpoints: [x]\n"), /line 8: services\[0\].endpoints\[0\]: "x" is not an IP address/],
    [web("    endpoints: [{ address: 10.244.1.5, node: n9 }]\n"), /endpoints\[0\].node: n9 is not in nodes/],
    [web("    endpoints: [{ address: 10.244.1.5, ready: yes }]\n"), /endpoints\[0\].ready: expected true or false/],
    [web("    endpoints: [{ node: n1 }]\n"), /endpoints\[0\].address: expected text/],
    [web("    internalTrafficPolicy: local\n"), /internalTrafficPolicy: expected Cluster or Local/],
    [web("    sessionAffinitySeconds: 86401\n"), /sessionAffinitySeconds: expected a number from 1 to 86400/],
    [web("  - name: web\n    clusterIPs: [10.96.0.11]\n    ports: [{ port: 80 }]\n"), /default\/web is defined twice/],
    ["serviceCIDRs: [10.96.0.1/16]\n", /line 4: serviceCIDRs\[0\]: .*10\.96\.0\.1\/16/],
  ])("rejects %j and names line and field", (text, message) => {
    expect(() => parse(text)).toThrow(message);
  });
});
