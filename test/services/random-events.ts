/**
 * Random Services, EndpointSlices and facts of a node, from small sets so that they collide: same addresses, ports,
 * claims.
 */
import fc from "fast-check";
import type { EndpointSlice, SliceEndpoint } from "../../pkg/cluster/service/endpoint-slice.ts";
import type { Protocol, Service, ServicePort } from "../../pkg/cluster/service/service.ts";
import { type Address, parseAddress } from "../../pkg/ip/address.ts";
import type { NodeSettings } from "../../pkg/services/frontend.ts";
import type { NodeFacts } from "../../pkg/services/node-facts.ts";
import type { ServiceMap } from "../../pkg/services/service-map.ts";
import { addresses, nodeFacts, prefixes } from "./core-bed.ts";

export type ServiceEvent =
  | { readonly kind: "service"; readonly key: string; readonly service: Service | undefined }
  | { readonly kind: "slices"; readonly key: string; readonly slices: readonly EndpointSlice[] }
  | { readonly kind: "node"; readonly node: NodeFacts };

export function applyEvent(map: ServiceMap, event: ServiceEvent): void {
  if (event.kind === "service") map.setService(event.key, event.service);
  else if (event.kind === "slices") map.setSlices(event.key, event.slices);
  else map.setNode(event.node);
}

const KEYS = ["default/kubernetes", "default/web", "kube-system/dns"];
const EXTERNAL = [
  "198.51.100.1",
  "198.51.100.2",
  "10.96.0.2",
  "192.168.0.1",
  "127.0.0.1",
  "2001:db8:1::1",
  "2001:db8::1",
];
const ENDPOINTS = ["10.244.1.1", "10.244.1.2", "10.244.2.1", "192.168.0.1", "10.96.0.2", "169.254.1.1"];
const ENDPOINTS6 = ["fd00:244::1", "fd00:244::2", "2001:db8::1", "fe80::1"];

const some = (texts: readonly string[]): fc.Arbitrary<Address[]> =>
  fc.subarray([...texts]).map((list) => list.map(parseAddress));
/** Ports of Services and of EndpointSlices should match: most have one name and protocol. */
const protocol = fc.constantFrom<Protocol>(6, 6, 6, 6, 17, 132);
const portName = fc.constantFrom("", "", "", "http", "dns");

const servicePort: fc.Arbitrary<ServicePort> = fc.record({
  name: portName,
  protocol,
  port: fc.constantFrom(80, 443, 30080),
  nodePort: fc.constantFrom(0, 30080, 30081, 6443),
});

const service: fc.Arbitrary<Service> = fc.record({
  type: fc.constantFrom("ClusterIP", "NodePort", "LoadBalancer"),
  clusterIPs: fc.constantFrom(
    ...[["10.96.0.1"], ["10.96.0.2"], ["10.96.0.2", "fd00:96::2"], ["fd00:96::3"], ["fd00:96::3", "10.96.0.3"], []].map(
      (texts) => addresses(...texts),
    ),
  ),
  ports: fc.uniqueArray(servicePort, {
    minLength: 1,
    maxLength: 3,
    selector: ({ port, protocol: number }) => `${port} ${number}`,
  }),
  externalIPs: some(EXTERNAL),
  loadBalancerIPs: some(EXTERNAL),
  sourceRanges: fc.subarray(prefixes("192.168.0.0/24", "10.0.0.0/8", "0.0.0.0/0", "fd00::/8")),
  affinitySeconds: fc.constantFrom(undefined, 60, 10_800),
  internalTrafficPolicy: fc.constantFrom("Cluster", "Local"),
  externalTrafficPolicy: fc.constantFrom("Cluster", "Local"),
  healthCheckNodePort: fc.constantFrom(0, 30999),
  created: fc.constantFrom("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
  problems: fc.constant([]),
});

const mostly = fc.constantFrom(true, true, true, false);

const sliceEndpoint = (family: 4 | 6): fc.Arbitrary<SliceEndpoint> =>
  fc.record({
    address: fc.constantFrom(...(family === 4 ? ENDPOINTS : ENDPOINTS6)).map(parseAddress),
    isReady: mostly,
    isServing: mostly,
    isTerminating: mostly.map((isNot) => !isNot),
    nodeName: fc.constantFrom("n1", "n2", undefined),
    nodeHints: fc.constantFrom(undefined, undefined, ["n1"], ["n2"]),
    zoneHints: fc.constantFrom(undefined, ["a"], ["b", "a"], ["b"]),
    pod: fc.constantFrom(undefined, "default/web-0"),
  });

const slicesOf = (key: string, minLength = 0): fc.Arbitrary<EndpointSlice[]> => {
  const slice = fc.constantFrom<4 | 6>(4, 4, 6).chain((family) =>
    fc.record({
      service: fc.constant(key),
      family: fc.constant(family),
      ports: fc.uniqueArray(fc.record({ name: portName, protocol, port: fc.constantFrom(8080, 5353, 80) }), {
        minLength: 1,
        maxLength: 2,
        selector: ({ name, protocol: number }) => `${name} ${number}`,
      }),
      endpoints: fc.array(sliceEndpoint(family), { maxLength: 4 }),
      triggeredMs: fc.constant(undefined),
    }),
  );
  return fc.array(slice, { minLength, maxLength: 3 });
};

const node: fc.Arbitrary<NodeFacts> = fc
  .record({
    name: fc.constantFrom("n1", "n2"),
    zone: fc.constantFrom(undefined, "a", "b"),
    addresses: some(["192.168.0.1", "10.244.1.1", "2001:db8::1"]),
    nodePortAddresses: some(["192.168.0.1", "192.168.5.1", "2001:db8::1"]),
    reserved: fc.constantFrom(
      [],
      addresses("192.168.0.1").map((address) => ({ address, port: 6443 })),
      addresses("10.96.0.1").map((address) => ({ address, port: 443 })),
    ),
    externalIPs: fc.constantFrom<NodeFacts["externalIPs"]>("all", "none", prefixes("198.51.100.0/24")),
  })
  .map(nodeFacts);

/** Each Service, with EndpointSlices. */
export const arbitraryPopulation: fc.Arbitrary<ServiceEvent[]> = fc
  .tuple(
    ...KEYS.flatMap((key) => [
      service.map((one): ServiceEvent => ({ kind: "service", key, service: one })),
      slicesOf(key, 1).map((slices): ServiceEvent => ({ kind: "slices", key, slices })),
    ]),
  )
  .map((events) => [...events]);

/** Endpoints change more often than Services, and Services more often than the node. */
export function arbitraryEvents({ maxLength }: { maxLength: number }): fc.Arbitrary<ServiceEvent[]> {
  const key = fc.constantFrom(...KEYS);
  const event = fc.oneof(
    {
      weight: 6,
      arbitrary: key.chain((of) => slicesOf(of).map((slices) => ({ kind: "slices", key: of, slices }) as const)),
    },
    {
      weight: 4,
      arbitrary: fc.record({
        kind: fc.constant("service" as const),
        key,
        service: fc.option(service, { nil: undefined, freq: 5 }),
      }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("node" as const), node }) },
  );
  return fc.array(event, { minLength: 1, maxLength });
}

export const arbitrarySettings: fc.Arbitrary<NodeSettings> = fc.record({
  localPods: fc.subarray(prefixes("10.244.1.0/24", "fd00:244::/64")),
  serviceRanges: fc.subarray(prefixes("10.96.0.0/16", "fd00:96::/112")),
  masqueradeAll: fc.boolean(),
  masqueradeBit: fc.constantFrom(14, 15),
});
