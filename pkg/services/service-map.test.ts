import { describe, expect, test } from "vitest";
import {
  addresses,
  endpoint,
  formatChange,
  formatFrontend,
  LOCAL,
  nodeFacts,
  port,
  prefixes,
  service,
  slice,
  UNREADY,
} from "../../test/services/core-bed.ts";
import { ServiceMap } from "./service-map.ts";

const WEB = "default/web";
const REMOTE = slice(["10.244.2.1"]);
const CLUSTER_IP = "ClusterIP 10.96.0.1:80/TCP internal";

/** A map of node n1 with `default/web` and an endpoint, whose changes have already been read. */
function mapWithWeb(more: Parameters<typeof service>[0] = {}): ServiceMap {
  const map = new ServiceMap();
  map.setNode(nodeFacts());
  map.setService(WEB, service(more));
  map.setSlices(WEB, [REMOTE]);
  map.changes();
  return map;
}

const changes = (map: ServiceMap) => map.changes().map(formatChange);
const frontends = (map: ServiceMap) => [...map.frontends()].map(formatFrontend);

describe("changes", () => {
  test("are the new frontends the first time, and none the second time", () => {
    const map = new ServiceMap();
    map.setNode(nodeFacts());
    map.setSlices(WEB, [REMOTE]);
    map.setService(WEB, service());
    expect(changes(map)).toEqual([`+ ${WEB} ${CLUSTER_IP} -> 10.244.2.1:8080`]);
    expect(changes(map)).toEqual([]);
    expect(frontends(map)).toEqual([`${CLUSTER_IP} -> 10.244.2.1:8080`]);
  });

  test("are empty before the node is known, and contain all frontends afterwards", () => {
    const map = new ServiceMap();
    map.setService(WEB, service());
    expect([changes(map), frontends(map), map.report(WEB)]).toEqual([[], [], undefined]);
    map.setNode(nodeFacts());
    expect(changes(map)).toEqual([`+ ${WEB} ${CLUSTER_IP} -> - reject`]);
  });

  test("contain both states of a changed frontend", () => {
    const map = mapWithWeb();
    map.setSlices(WEB, []);
    expect(map.changes()).toEqual([
      {
        before: expect.objectContaining({ endpoints: [expect.anything()], withoutEndpoint: undefined }) as unknown,
        after: expect.objectContaining({ endpoints: [], withoutEndpoint: "reject" }) as unknown,
      },
    ]);
  });

  test("omit a frontend that has its former state again", () => {
    const map = mapWithWeb();
    map.setSlices(WEB, []);
    map.setService(WEB, undefined);
    expect(frontends(map)).toEqual([]);
    map.setService(WEB, service());
    map.setSlices(WEB, [slice(["10.244.2.1"])]);
    expect(changes(map)).toEqual([]);
  });

  test("omit frontends that an event does not change", () => {
    const map = mapWithWeb({ externalIPs: addresses("203.0.113.1") });
    map.setSlices(WEB, [REMOTE, slice([endpoint("10.244.2.9", UNREADY)])]);
    map.setService(WEB, service({ externalIPs: addresses("203.0.113.1"), healthCheckNodePort: 30999 }));
    expect(changes(map)).toEqual([]);
  });

  test("of a removed port are its frontends only", () => {
    const map = mapWithWeb({ ports: [port(80), port(443)] });
    map.setService(WEB, service());
    expect(changes(map)).toEqual([`- ${WEB} ClusterIP 10.96.0.1:443/TCP internal -> 10.244.2.1:8080`]);
  });

  test("of an address that moves to another Service are one change, with both Services", () => {
    const map = mapWithWeb();
    map.setService(WEB, undefined);
    map.setService("default/new", service());
    expect(map.changes()).toMatchObject([{ before: { service: WEB }, after: { service: "default/new" } }]);
  });

  test("of the node's facts concern all Services", () => {
    const map = mapWithWeb({ ports: [port(80, { nodePort: 30080 })] });
    map.setNode(nodeFacts({ name: "n2", nodePortAddresses: addresses("192.168.0.2") }));
    expect(changes(map).toSorted()).toEqual([
      `+ ${WEB} NodePort 192.168.0.2:30080/TCP cluster -> 10.244.2.1:8080*`,
      `- ${WEB} NodePort 192.168.0.1:30080/TCP cluster -> 10.244.2.1:8080`,
      `~ ${WEB} ${CLUSTER_IP} -> 10.244.2.1:8080*`,
    ]);
  });
});

describe("an address that several Services claim", () => {
  const hijack = { clusterIPs: addresses("10.96.0.2"), externalIPs: addresses("10.96.0.1") };
  const ofOwner = (map: ServiceMap) => {
    const address = addresses("10.96.0.1")[0]?.value;
    return [...map.frontends()]
      .filter((one) => one.address.value === address)
      .map((one) => `${one.service} ${one.kind}`);
  };

  test("belongs to the ClusterIP, even of the younger Service", () => {
    const map = mapWithWeb({ created: "2026-02-01T00:00:00Z" });
    map.setService("default/evil", service(hijack));
    expect(ofOwner(map)).toEqual([`${WEB} ClusterIP`]);
    expect(map.lostClaims()).toMatchObject([
      { frontend: { service: "default/evil", kind: "ExternalIP" }, winner: { service: WEB, kind: "ClusterIP" } },
    ]);
  });

  test("belongs to the same Service in any order of events", () => {
    const map = new ServiceMap();
    map.setNode(nodeFacts());
    map.setService("default/evil", service(hijack));
    expect(ofOwner(map)).toEqual(["default/evil ExternalIP"]);
    map.changes();
    map.setService(WEB, service({ created: "2026-02-01T00:00:00Z" }));
    expect(map.changes()).toMatchObject([
      { before: { service: "default/evil", kind: "ExternalIP" }, after: { service: WEB, kind: "ClusterIP" } },
    ]);
  });

  test("moves to the other Service when its Service is removed, and is then no lost claim", () => {
    const map = mapWithWeb();
    map.setService("default/evil", service(hijack));
    map.changes();
    map.setService(WEB, undefined);
    expect(map.changes()).toMatchObject([{ before: { service: WEB }, after: { service: "default/evil" } }]);
    expect(map.lostClaims()).toEqual([]);
  });

  test.each([
    [
      "a NodePort before a load balancer's address",
      "a",
      "b",
      { ports: [port(80, { nodePort: 30080 })] },
      { loadBalancerIPs: addresses("192.168.0.1"), ports: [port(30080)] },
    ],
    [
      "a load balancer's address before an externalIP",
      "a",
      "b",
      { loadBalancerIPs: addresses("198.51.100.1") },
      { externalIPs: addresses("198.51.100.1") },
    ],
    [
      "the older Service before the younger",
      "b",
      "a",
      { externalIPs: addresses("203.0.113.1"), created: "2025-12-31T23:59:59Z" },
      { externalIPs: addresses("203.0.113.1") },
    ],
    [
      "the first by name, if they have the same age",
      "a",
      "b",
      { externalIPs: addresses("203.0.113.1") },
      { externalIPs: addresses("203.0.113.1") },
    ],
  ])("goes to %s", (_, winner, loser, strong, weak) => {
    for (const order of [
      [winner, loser],
      [loser, winner],
    ]) {
      const map = new ServiceMap();
      map.setNode(nodeFacts());
      for (const name of order) {
        const [more, last] = name === winner ? [strong, "2"] : [weak, "3"];
        map.setService(`default/${name}`, service({ clusterIPs: addresses(`10.96.0.${last}`), ...more }));
      }
      expect(map.lostClaims()).toMatchObject([
        { frontend: { service: `default/${loser}` }, winner: { service: `default/${winner}` } },
      ]);
    }
  });

  test("is assigned again when a Service is recreated", () => {
    const shared = { externalIPs: addresses("203.0.113.1") };
    const map = mapWithWeb(shared);
    map.setService(
      "default/other",
      service({ ...shared, clusterIPs: addresses("10.96.0.2"), created: "2026-01-02T00:00:00Z" }),
    );
    expect(map.lostClaims()).toMatchObject([{ winner: { service: WEB } }]);
    map.changes();
    map.setService(WEB, service({ ...shared, created: "2026-01-03T00:00:00Z" }));
    expect(map.changes()).toMatchObject([{ before: { service: WEB }, after: { service: "default/other" } }]);
  });

  test("with other ports or protocols is not contested", () => {
    const map = mapWithWeb();
    map.setService("default/other", service({ ...hijack, ports: [port(81), port(80, { protocol: 17 })] }));
    expect(map.lostClaims()).toEqual([]);
  });
});

describe("health checks of load balancers", () => {
  const LB = { type: "LoadBalancer", externalTrafficPolicy: "Local", healthCheckNodePort: 30999 } as const;

  test("list Services of type LoadBalancer and policy Local with the number of local ready addresses", () => {
    const map = mapWithWeb(LB);
    expect(map.healthChecks()).toEqual([{ service: WEB, port: 30999, localEndpoints: 0 }]);
    const here = [
      endpoint("10.244.1.1", LOCAL),
      endpoint("10.244.1.2", LOCAL),
      endpoint("10.244.1.3", { ...LOCAL, ...UNREADY }),
    ];
    const otherPort = { ports: [{ name: "metrics", protocol: 6, port: 9090 }] } as const;
    map.setSlices(WEB, [slice(here), slice(here.slice(0, 1), otherPort), REMOTE]);
    expect(map.healthChecks()).toEqual([{ service: WEB, port: 30999, localEndpoints: 2 }]);
  });

  test("return the same list while other Services change, as do lost claims", () => {
    const map = mapWithWeb({ ...LB, externalIPs: addresses("203.0.113.1") });
    map.setService(
      "default/rival",
      service({ ...LB, clusterIPs: addresses("10.96.0.7"), externalIPs: addresses("203.0.113.1") }),
    );
    map.setService("default/other", service({ clusterIPs: addresses("10.96.0.8") }));
    const [checks, lost] = [map.healthChecks(), map.lostClaims()];
    expect([checks.length, lost.length]).toEqual([2, 1]);
    map.setSlices("default/other", [REMOTE]);
    expect([map.healthChecks() === checks, map.lostClaims() === lost]).toEqual([true, true]);
    map.setSlices(WEB, [slice([endpoint("10.244.1.1", LOCAL)])]);
    expect(map.healthChecks()).toMatchObject([{ localEndpoints: 1 }, { localEndpoints: 0 }]);
    map.setService("default/rival", undefined);
    expect([map.healthChecks().length, map.lostClaims()]).toEqual([1, []]);
  });

  test("count a pod with an address of each family once", () => {
    const map = mapWithWeb(LB);
    map.setSlices(WEB, [slice([endpoint("10.244.1.1", LOCAL)]), slice([endpoint("fd00:244::1", LOCAL)])]);
    expect(map.localReadyEndpoints(WEB)).toBe(1);
  });

  test.each([
    ["another policy", { ...LB, externalTrafficPolicy: "Cluster" }],
    ["another type", { ...LB, type: "NodePort" }],
    ["no port", { ...LB, healthCheckNodePort: 0 }],
    ["no ClusterIP", { ...LB, clusterIPs: [] }],
  ] as const)("exclude a Service with %s", (_, more) => {
    const map = mapWithWeb(LB);
    map.setService(WEB, service(more));
    expect(map.healthChecks()).toEqual([]);
  });

  test("exclude a removed Service", () => {
    const map = mapWithWeb(LB);
    map.setService(WEB, undefined);
    expect([map.healthChecks(), map.services()]).toEqual([[], []]);
  });
});

test("updates counts with each event", () => {
  const map = mapWithWeb({ internalTrafficPolicy: "Local" });
  expect(map.counts()).toEqual({
    services: 1,
    endpoints: 1,
    withoutLocalInternal: { 4: 1, 6: 0 },
    withoutLocalExternal: { 4: 0, 6: 0 },
  });
  map.setSlices(WEB, [REMOTE, slice([endpoint("10.244.1.1", LOCAL)])]);
  expect(map.counts()).toEqual({
    services: 1,
    endpoints: 2,
    withoutLocalInternal: { 4: 0, 6: 0 },
    withoutLocalExternal: { 4: 0, 6: 0 },
  });
  map.setService(WEB, undefined);
  expect(map.counts()).toEqual({
    services: 0,
    endpoints: 0,
    withoutLocalInternal: { 4: 0, 6: 0 },
    withoutLocalExternal: { 4: 0, 6: 0 },
  });
});

test("recomputes Services only if the node's facts have changed", () => {
  const reads: string[] = [];
  const watched = new Proxy(service(), {
    get(target, field) {
      reads.push(String(field));
      return Reflect.get(target, field) as unknown;
    },
  });
  const facts = () => nodeFacts({ externalIPs: prefixes("203.0.113.0/24") });
  const map = new ServiceMap();
  map.setNode(facts());
  map.setService(WEB, watched);
  map.changes();
  reads.length = 0;
  map.setNode(facts());
  expect([map.changes(), reads]).toEqual([[], []]);
  const address = addresses("192.168.0.9");
  const others = [
    { name: "n9" },
    { zone: undefined },
    { addresses: address },
    { nodePortAddresses: address },
    { reserved: address.map((one) => ({ address: one, port: 6443 })) },
    { externalIPs: "all" },
    { externalIPs: prefixes("203.0.113.0/25") },
  ] as const;
  for (const other of others) {
    map.setNode(facts());
    map.changes();
    reads.length = 0;
    map.setNode({ ...facts(), ...other });
    map.changes();
    expect(reads.length, JSON.stringify(Object.keys(other))).toBeGreaterThan(0);
  }
});

test("an event reads only its own Service, and those that claim the same address", () => {
  const read = new Set<string>();
  const watched = (key: string, n: number) =>
    new Proxy(service({ clusterIPs: addresses(`10.96.${n >> 8}.${n & 255}`) }), {
      get(target, field) {
        read.add(key);
        return Reflect.get(target, field) as unknown;
      },
    });
  const map = new ServiceMap();
  map.setNode(nodeFacts());
  for (let n = 1; n <= 500; n++) map.setService(`default/s${n}`, watched(`default/s${n}`, n));
  expect(map.changes()).toHaveLength(500);
  read.clear();
  map.setSlices("default/s7", [slice(["10.244.2.1"])]);
  expect(map.changes()).toHaveLength(1);
  expect([...read]).toEqual(["default/s7"]);
});
