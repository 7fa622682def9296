import { describe, expect, test } from "vitest";
import {
  addresses,
  endpoint,
  formatFrontend,
  LOCAL,
  nodeFacts,
  port,
  prefixes,
  service,
  slice,
  TERMINATING,
  UNREADY,
} from "../../test/services/core-bed.ts";
import type { EndpointSlice } from "../cluster/service/endpoint-slice.ts";
import type { Service } from "../cluster/service/service.ts";
import { formatAddress } from "../ip/address.ts";
import type { NodeFacts } from "./node-facts.ts";
import { frontendsOf } from "./service-frontends.ts";

const BOTH = slice([endpoint("10.244.1.1", LOCAL), "10.244.2.1"]);
const REMOTE = slice(["10.244.2.1"]);
const EVERYWHERE: Partial<Service> = {
  type: "LoadBalancer",
  ports: [port(80, { nodePort: 30080 })],
  loadBalancerIPs: addresses("198.51.100.1"),
  externalIPs: addresses("203.0.113.1"),
};

function frontends(more: Partial<Service>, slices: readonly EndpointSlice[] = [BOTH], node: Partial<NodeFacts> = {}) {
  return frontendsOf("default/web", service(more), slices, nodeFacts(node)).frontends.map(formatFrontend);
}

/** "kind address port: reason" */
function refused(more: Partial<Service>, node: Partial<NodeFacts> = {}, key = "default/web") {
  return frontendsOf(key, service(more), [BOTH], nodeFacts(node)).refused.map(
    ({ kind, address, port: number, reason }) => `${kind} ${formatAddress(address)} ${number}: ${reason}`,
  );
}

describe("matching endpoints", () => {
  test("a Service with all kinds of frontends has each of them once, with the endpoints of its port", () => {
    const to = "-> 10.244.1.1:8080*, 10.244.2.1:8080";
    expect(frontends(EVERYWHERE)).toEqual([
      `ClusterIP 10.96.0.1:80/TCP internal ${to}`,
      `NodePort 192.168.0.1:30080/TCP cluster ${to}`,
      `LoadBalancerIP 198.51.100.1:80/TCP cluster ${to}`,
      `ExternalIP 203.0.113.1:80/TCP cluster ${to}`,
    ]);
  });

  test("frontends of a port share one list", () => {
    const lists = frontendsOf("default/web", service(EVERYWHERE), [BOTH], nodeFacts()).frontends;
    expect(new Set(lists.map(({ endpoints }) => endpoints)).size).toBe(1);
  });

  test("a headless Service has no frontends", () => {
    expect(frontends({ ...EVERYWHERE, clusterIPs: [] })).toEqual([]);
  });

  test("each port has its own endpoints, by name and protocol", () => {
    const ports = [
      port(53, { name: "dns", protocol: 17 }),
      port(53, { name: "dns-tcp" }),
      port(9153, { name: "metrics" }),
    ];
    const slicePorts = [
      { name: "dns", protocol: 17, port: 5353 },
      { name: "dns-tcp", protocol: 6, port: 5353 },
      { name: "dns", protocol: 132, port: 1 },
    ] as const;
    expect(frontends({ ports }, [slice(["10.244.2.1"], { ports: slicePorts })])).toEqual([
      "ClusterIP 10.96.0.1:53/UDP internal -> 10.244.2.1:5353",
      "ClusterIP 10.96.0.1:53/TCP internal -> 10.244.2.1:5353",
      "ClusterIP 10.96.0.1:9153/TCP internal -> - reject",
    ]);
  });

  test("dual stack: each family has its own addresses, slices and NodePort addresses", () => {
    const dual = {
      ...EVERYWHERE,
      clusterIPs: addresses("fd00::1", "10.96.0.1"),
      loadBalancerIPs: addresses("2001:db8:1::1"),
    };
    expect(frontends(dual, [REMOTE, slice(["fd00:244::1"])])).toEqual([
      "ClusterIP [fd00::1]:80/TCP internal -> [fd00:244::1]:8080",
      "NodePort [2001:db8::1]:30080/TCP cluster -> [fd00:244::1]:8080",
      "LoadBalancerIP [2001:db8:1::1]:80/TCP cluster -> [fd00:244::1]:8080",
      "ClusterIP 10.96.0.1:80/TCP internal -> 10.244.2.1:8080",
      "NodePort 192.168.0.1:30080/TCP cluster -> 10.244.2.1:8080",
      "ExternalIP 203.0.113.1:80/TCP cluster -> 10.244.2.1:8080",
    ]);
  });

  test("addresses of a family without a ClusterIP are refused", () => {
    const more = { externalIPs: addresses("2001:db8::9"), loadBalancerIPs: addresses("2001:db8::8") };
    expect(frontends(more)).toHaveLength(1);
    expect(refused(more)).toEqual([
      "LoadBalancerIP 2001:db8::8 80: the Service has no IPv6 ClusterIP",
      "ExternalIP 2001:db8::9 80: the Service has no IPv6 ClusterIP",
    ]);
  });

  test("an address of both kinds is a load balancer address rather than an externalIP", () => {
    const both = addresses("198.51.100.1");
    const more = { ...EVERYWHERE, loadBalancerIPs: both, externalIPs: both };
    expect(frontends(more).filter((text) => text.includes("198.51.100.1"))).toEqual([
      expect.stringMatching(/^LoadBalancerIP/),
    ]);
  });
});

describe("NodePorts", () => {
  const nodePort = { ports: [port(80, { nodePort: 30080 })] };
  const ofNode = (...texts: string[]) =>
    frontends(nodePort, [REMOTE], { nodePortAddresses: addresses(...texts) }).slice(1);

  test("have a frontend on each NodePort address of the node", () => {
    expect(ofNode("192.168.0.1", "192.168.5.1", "127.0.0.1")).toEqual([
      "NodePort 192.168.0.1:30080/TCP cluster -> 10.244.2.1:8080",
      "NodePort 192.168.5.1:30080/TCP cluster -> 10.244.2.1:8080",
      "NodePort 127.0.0.1:30080/TCP cluster -> 10.244.2.1:8080",
    ]);
  });

  test("have none in a family without NodePort addresses", () => {
    expect(ofNode("2001:db8::1")).toEqual([]);
  });

  test("have none if no NodePort is allocated", () => {
    const ports = [port(80, { nodePort: 0 })];
    expect(frontends({ type: "LoadBalancer", ports }).map((text) => text.split(" ")[0])).toEqual(["ClusterIP"]);
  });

  test("are not subject to source ranges", () => {
    const texts = frontends({ ...EVERYWHERE, sourceRanges: prefixes("10.0.0.0/8") });
    expect(texts.filter((text) => text.includes(" from "))).toEqual([
      expect.stringMatching(/^LoadBalancerIP .* from 10\.0\.0\.0\/8$/),
    ]);
  });
});

describe("traffic policies", () => {
  const kinds = (more: Partial<Service>, slices: readonly EndpointSlice[]) =>
    frontends({ ...EVERYWHERE, ...more }, slices).map((text) => text.replace(/ \S+\/TCP/, ""));
  const [HERE, THERE] = ["10.244.1.1:8080*", "10.244.2.1:8080"];

  test("internal Local: the ClusterIP uses local endpoints, and the others use all", () => {
    expect(kinds({ internalTrafficPolicy: "Local" }, [BOTH])).toEqual([
      `ClusterIP internal -> ${HERE}`,
      `NodePort cluster -> ${HERE}, ${THERE}`,
      `LoadBalancerIP cluster -> ${HERE}, ${THERE}`,
      `ExternalIP cluster -> ${HERE}, ${THERE}`,
    ]);
  });

  test("internal Local without local endpoints: the ClusterIP drops, the others work", () => {
    expect(kinds({ internalTrafficPolicy: "Local" }, [REMOTE]).slice(0, 2)).toEqual([
      "ClusterIP internal -> - drop",
      `NodePort cluster -> ${THERE}`,
    ]);
  });

  test("external Local: local endpoints for external clients, all for this node and its pods", () => {
    expect(kinds({ externalTrafficPolicy: "Local" }, [BOTH])).toEqual([
      `ClusterIP internal -> ${HERE}, ${THERE}`,
      `NodePort local -> ${HERE}, ${THERE} | ${HERE}`,
      `LoadBalancerIP local -> ${HERE}, ${THERE} | ${HERE}`,
      `ExternalIP local -> ${HERE}, ${THERE} | ${HERE}`,
    ]);
  });

  test("external Local without local endpoints: drops, except from this node and its pods", () => {
    expect(kinds({ externalTrafficPolicy: "Local" }, [REMOTE])).toEqual([
      `ClusterIP internal -> ${THERE}`,
      `NodePort local -> ${THERE} | - drop`,
      `LoadBalancerIP local -> ${THERE} | - drop`,
      `ExternalIP local -> ${THERE} | - drop`,
    ]);
  });

  test("both Local, all endpoints on other nodes: the ClusterIP drops, and external frontends still work from this node", () => {
    const both = { internalTrafficPolicy: "Local", externalTrafficPolicy: "Local" } as const;
    expect(kinds(both, [REMOTE]).slice(0, 2)).toEqual([
      "ClusterIP internal -> - drop",
      `NodePort local -> ${THERE} | - drop`,
    ]);
  });

  test("external Local with terminating local endpoints and ready ones on other nodes", () => {
    const terminating = slice([endpoint("10.244.1.1", { ...LOCAL, ...TERMINATING }), "10.244.2.1"]);
    expect(kinds({ externalTrafficPolicy: "Local" }, [terminating])[1]).toBe(`NodePort local -> ${THERE} | ${HERE}`);
  });

  test("no usable endpoint on any node: every frontend rejects, whatever the policies", () => {
    const none = [slice([endpoint("10.244.1.1", UNREADY)])];
    const expected = ["ClusterIP internal -> - reject", "NodePort cluster -> - reject"];
    expect(kinds({}, none).slice(0, 2)).toEqual(expected);
    expect(kinds({ internalTrafficPolicy: "Local", externalTrafficPolicy: "Local" }, none).slice(0, 2)).toEqual([
      "ClusterIP internal -> - reject",
      "NodePort local -> - | - reject",
    ]);
    expect(kinds({}, []).slice(0, 2)).toEqual(expected);
  });
});

describe("source ranges", () => {
  const NODE_OUTSIDE = { addresses: addresses("192.168.0.1") };
  const sources = (ranges: string[], node: Partial<NodeFacts> = NODE_OUTSIDE, more: Partial<Service> = {}) =>
    frontends({ ...EVERYWHERE, sourceRanges: prefixes(...ranges), ...more }, [BOTH], node)
      .filter((text) => text.startsWith("LoadBalancerIP"))
      .map((text) => text.split(" from ")[1]);

  test("allow the sources that they cover", () => {
    expect(sources(["203.0.113.0/24", "10.0.0.0/8"])).toEqual(["10.0.0.0/8 203.0.113.0/24"]);
  });

  test("that cover an address of the node also allow the load balancer's addresses", () => {
    const two = { loadBalancerIPs: addresses("198.51.100.1", "198.51.100.2", "2001:db8:1::1") };
    expect(sources(["192.168.0.0/24"], NODE_OUTSIDE, two)).toEqual([
      "192.168.0.0/24 198.51.100.1/32 198.51.100.2/32",
      "192.168.0.0/24 198.51.100.1/32 198.51.100.2/32",
    ]);
  });

  test("of the other family are ignored", () => {
    expect(sources(["203.0.113.0/24", "fd00::/8"])).toEqual(["203.0.113.0/24"]);
  });

  test("that are all of the other family do not filter", () => {
    expect(sources(["fd00::/8"])).toEqual([undefined]);
  });

  test("are sorted and have no duplicates", () => {
    expect(sources(["203.0.113.0/24", "10.0.0.0/8", "203.0.113.0/24"])).toEqual(["10.0.0.0/8 203.0.113.0/24"]);
  });
});

test("session affinity has one key for all frontends of a port", () => {
  const texts = frontends({ ...EVERYWHERE, affinitySeconds: 600 });
  expect(texts).toHaveLength(4);
  for (const text of texts) expect(text).toMatch(/ sticky 600 by default\/web:80\/6$/);
});

describe("endpoints", () => {
  test.each(["127.0.0.1", "169.254.169.254", "224.0.0.1", "0.0.0.0"])("%s is refused", (address) => {
    expect(frontends({}, [slice([address])])).toEqual(["ClusterIP 10.96.0.1:80/TCP internal -> - reject"]);
  });

  test("that are refused do not disable topology hints", () => {
    const hinted = [endpoint("10.244.1.1", { zoneHints: ["a"] }), endpoint("10.244.1.2", { zoneHints: ["b"] })];
    expect(frontends({}, [slice([...hinted, "127.0.0.1"])])[0]).toMatch(/-> 10\.244\.1\.1:8080$/);
  });

  test("may be addresses of nodes, including this one", () => {
    expect(frontends({}, [slice([endpoint("192.168.0.1", LOCAL)])])[0]).toMatch(/-> 192\.168\.0\.1:8080\*$/);
  });
});

describe("refused frontends", () => {
  test.each([
    ["externalIPs", "127.0.0.1", "ExternalIP 127.0.0.1 80: the address is loopback"],
    ["externalIPs", "169.254.169.254", "ExternalIP 169.254.169.254 80: the address is link-local"],
    ["loadBalancerIPs", "127.0.0.1", "LoadBalancerIP 127.0.0.1 80: the address is loopback"],
    ["loadBalancerIPs", "255.255.255.255", "LoadBalancerIP 255.255.255.255 80: the address is broadcast"],
    ["clusterIPs", "0.0.0.0", "ClusterIP 0.0.0.0 80: the address is unspecified"],
  ])("%s %s", (field, address, reason) => {
    expect(refused({ [field]: addresses(address) })).toEqual([reason]);
  });

  describe("of the API server", () => {
    const reserved = [
      { address: addresses("192.168.0.1"), port: 6443 },
      { address: addresses("10.96.0.1"), port: 443 },
    ].flatMap(({ address: [address], port: number }) => (address ? [{ address, port: number }] : []));
    const REASON = "the API server uses this address and port";

    test("an externalIP", () => {
      const more = {
        externalIPs: addresses("192.168.0.1"),
        ports: [port(6443), port(6443, { protocol: 17, name: "u" }), port(80)],
      };
      expect(refused(more, { reserved })).toEqual([`ExternalIP 192.168.0.1 6443: ${REASON}`]);
    });

    test("a NodePort", () => {
      expect(refused({ ports: [port(80, { nodePort: 6443 })] }, { reserved })).toEqual([
        `NodePort 192.168.0.1 6443: ${REASON}`,
      ]);
    });

    test("only default/kubernetes may have its ClusterIP", () => {
      expect(refused({ ports: [port(443)] }, { reserved }, "default/kubernetes")).toEqual([]);
      expect(refused({ ports: [port(443)] }, { reserved })).toEqual([`ClusterIP 10.96.0.1 443: ${REASON}`]);
    });
  });
});

describe("the policy of externalIPs", () => {
  const two = { externalIPs: addresses("203.0.113.1", "198.51.100.9") };
  const external = (externalIPs: NodeFacts["externalIPs"]) =>
    frontends(two, [BOTH], { externalIPs })
      .filter((text) => text.startsWith("ExternalIP"))
      .map((text) => text.split(" ")[1]);

  test("all serves every address", () => {
    expect(external("all")).toEqual(["203.0.113.1:80/TCP", "198.51.100.9:80/TCP"]);
  });

  test("none serves none, and reports them as refused", () => {
    expect(external("none")).toEqual([]);
    expect(refused(two, { externalIPs: "none" })).toHaveLength(2);
  });

  test("ranges serve the addresses in them", () => {
    expect(external(prefixes("203.0.113.0/24", "fd00::/8"))).toEqual(["203.0.113.1:80/TCP"]);
    expect(refused(two, { externalIPs: prefixes("203.0.113.0/24") })).toEqual([
      "ExternalIP 198.51.100.9 80: the address is outside the ranges of --external-ips",
    ]);
  });

  test("does not apply to load balancers", () => {
    expect(frontends({ ...EVERYWHERE, externalIPs: [] }, [BOTH], { externalIPs: "none" })).toHaveLength(3);
  });

  test("without an external frontend, a ClusterIP of policy Local has no remote endpoints", () => {
    const more = { ...two, internalTrafficPolicy: "Local" } as const;
    expect(frontends(more, [BOTH], { externalIPs: "none" })).toEqual([
      "ClusterIP 10.96.0.1:80/TCP internal -> 10.244.1.1:8080*",
    ]);
  });
});

describe("counts", () => {
  const counts = (more: Partial<Service>, slices: readonly EndpointSlice[]) =>
    frontendsOf("default/web", service(more), slices, nodeFacts()).counts;
  const LOCAL_POLICIES = { ...EVERYWHERE, internalTrafficPolicy: "Local", externalTrafficPolicy: "Local" } as const;

  test("ports of policy Local whose endpoints are all on other nodes", () => {
    expect(counts(LOCAL_POLICIES, [REMOTE])).toMatchObject({
      withoutLocalInternal: { 4: 1, 6: 0 },
      withoutLocalExternal: { 4: 1, 6: 0 },
    });
    expect(counts(LOCAL_POLICIES, [BOTH])).toMatchObject({
      withoutLocalInternal: { 4: 0, 6: 0 },
      withoutLocalExternal: { 4: 0, 6: 0 },
    });
  });

  test("no ports without any endpoint, or without an external frontend", () => {
    expect(counts(LOCAL_POLICIES, [])).toMatchObject({
      withoutLocalInternal: { 4: 0, 6: 0 },
      withoutLocalExternal: { 4: 0, 6: 0 },
    });
    expect(counts({ externalTrafficPolicy: "Local" }, [REMOTE])).toMatchObject({
      withoutLocalExternal: { 4: 0, 6: 0 },
    });
  });

  test("endpoints of each port, usable or not; no headless Services", () => {
    const ports = [port(80), port(81, { name: "absent" })];
    expect(counts({ ports }, [BOTH, slice([endpoint("10.244.1.2", UNREADY)])])).toMatchObject({
      services: 1,
      endpoints: 3,
    });
    expect(counts({ clusterIPs: [] }, [BOTH])).toMatchObject({ services: 0, endpoints: 0 });
  });
});
