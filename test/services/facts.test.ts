/**
 * Cases of kube-proxy's tests about slices and counts, other than packets:
 * test/vectors/services/{endpoints,without-local}.yaml.
 */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import type { KubeObject } from "../../pkg/cluster/resource.ts";
import { ENDPOINT_SLICE_PARSER, type EndpointSlice } from "../../pkg/cluster/service/endpoint-slice.ts";
import { SERVICE_PARSER, type Service } from "../../pkg/cluster/service/service.ts";
import { parseAddress } from "../../pkg/ip/address.ts";
import type { NodeFacts } from "../../pkg/services/node-facts.ts";
import { ServiceMap } from "../../pkg/services/service-map.ts";
import { endpointText, NODE_NAME } from "./rows.ts";

const NODE: NodeFacts = {
  ...{ name: NODE_NAME, zone: undefined, addresses: [], nodePortAddresses: [parseAddress("192.168.0.2")] },
  ...{ reserved: [], externalIPs: "all" },
};

const read = <T>(file: string) =>
  parse(readFileSync(new URL(`../vectors/services/${file}.yaml`, import.meta.url), "utf8")) as T;

function parsed<T>(value: T | undefined): T {
  if (value === undefined) throw new Error("the parser ignores an object of the vectors");
  return value;
}
const serviceOf = (object: object): Service => parsed(SERVICE_PARSER.parse(object as KubeObject));
const sliceOf = (object: object): EndpointSlice => parsed(ENDPOINT_SLICE_PARSER.parse(object as KubeObject));

interface EndpointsCase {
  readonly title: string;
  /** Names of slices. */
  readonly before: readonly string[];
  readonly after: readonly string[];
  /** By "namespace/name port". */
  readonly endpointsBefore: Readonly<Record<string, readonly string[]>>;
  readonly endpointsAfter: Readonly<Record<string, readonly string[]>>;
  readonly localAfter: Readonly<Record<string, number>>;
  /** True if the endpoints differ from before. */
  readonly changes: boolean;
}

const SERVICES = ["ns1/ep1", "ns2/ep2", "ns3/ep3", "ns4/ep4"];
const PORTS = ["p11", "p11-2", "p12", "p122", "p13", "p14", "p21", "p22", "p23", "p33", "p44", "p45"];

/** Services with every port of the slices: only their endpoints are tested. */
function mapWithServices(): ServiceMap {
  const map = new ServiceMap();
  map.setNode(NODE);
  for (const [at, key] of SERVICES.entries()) {
    const [namespace = "", name = ""] = key.split("/");
    const ports = PORTS.map((port, number) => ({ name: port, protocol: "UDP", port: 1000 + number }));
    const spec = { type: "ClusterIP", clusterIP: `172.30.0.${at + 1}`, clusterIPs: [`172.30.0.${at + 1}`], ports };
    map.setService(key, serviceOf({ metadata: { namespace, name, creationTimestamp: "2026-01-01T00:00:00Z" }, spec }));
  }
  return map;
}

function endpointsIn(map: ServiceMap): Record<string, string[]> {
  const found: Record<string, string[]> = {};
  for (const { service, portName, endpoints } of map.frontends()) {
    if (endpoints.length === 0) continue;
    found[`${service} ${portName}`] = endpoints.map((one) => `${endpointText(one)}${one.isLocal ? " local" : ""}`);
  }
  return found;
}

describe("endpoints of Service ports", () => {
  const { slices, cases } = read<{ slices: Record<string, object>; cases: EndpointsCase[] }>("endpoints");
  const setSlices = (map: ServiceMap, names: readonly string[]) => {
    const all = names.map((name) => sliceOf(slices[name] ?? {}));
    for (const key of SERVICES)
      map.setSlices(
        key,
        all.filter(({ service }) => service === key),
      );
  };

  it.each(cases.map((each) => [each.title, each] as const))("%s", (_, each) => {
    const map = mapWithServices();
    setSlices(map, each.before);
    expect(endpointsIn(map)).toEqual(each.endpointsBefore);
    map.changes();
    setSlices(map, each.after);
    expect(endpointsIn(map)).toEqual(each.endpointsAfter);
    expect(map.changes().length > 0).toBe(each.changes);
    for (const key of SERVICES) expect(map.localReadyEndpoints(key)).toBe(each.localAfter[key] ?? 0);
  });
});

interface WithoutLocalCase {
  readonly title: string;
  readonly internal: "Local" | "Cluster";
  /** `none`: the Service has no external address. */
  readonly external: "Local" | "none";
  /** The node's name of each endpoint. */
  readonly endpointsOn: readonly string[];
  readonly withoutLocalInternal: number;
  readonly withoutLocalExternal: number;
}

describe("Service ports without an endpoint on this node", () => {
  const { cases } = read<{ cases: WithoutLocalCase[] }>("without-local");
  it.each(cases.map((each) => [each.title, each] as const))("%s", (_, each) => {
    const { internal, external, endpointsOn, withoutLocalInternal, withoutLocalExternal } = each;
    const map = new ServiceMap();
    map.setNode(NODE);
    const isExternal = external !== "none";
    const metadata = { namespace: "ns1", name: "svc1", creationTimestamp: "2026-01-01T00:00:00Z" };
    const spec = {
      ...{ type: isExternal ? "NodePort" : "ClusterIP", clusterIP: "172.30.1.1", clusterIPs: ["172.30.1.1"] },
      ...{ internalTrafficPolicy: internal, ...(isExternal && { externalTrafficPolicy: external }) },
      ports: [{ name: "", protocol: "TCP", port: 80, ...(isExternal && { nodePort: 123 }) }],
    };
    map.setService("ns1/svc1", serviceOf({ metadata, spec }));
    const slice = {
      metadata: { namespace: "ns1", name: "svc1-1", labels: { "kubernetes.io/service-name": "svc1" } },
      addressType: "IPv4",
      ports: [{ name: "", protocol: "TCP", port: 80 }],
      endpoints: endpointsOn.map((nodeName, at) => ({ addresses: [`10.0.1.${at + 1}`], nodeName })),
    };
    map.setSlices("ns1/svc1", [sliceOf(slice)]);
    expect(map.counts()).toMatchObject({
      withoutLocalInternal: { 4: withoutLocalInternal, 6: 0 },
      withoutLocalExternal: { 4: withoutLocalExternal, 6: 0 },
    });
  });
});
