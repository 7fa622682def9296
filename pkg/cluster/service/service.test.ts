import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { recordedItems } from "../../../test/apiserver/recorded.ts";
import { storeBed, until } from "../../../test/apiserver/store-bed.ts";
import { formatAddress } from "../../ip/address.ts";
import { formatPrefix } from "../../ip/prefix.ts";
import type { KubeObject } from "../resource.ts";
import { SERVICE_PARSER, SERVICE_SELECTION, type Service } from "./service.ts";

function parse(spec: unknown, more: object = {}): Service {
  const metadata = { name: "web", namespace: "default", creationTimestamp: "2026-11-30T02:48:40Z" };
  const service = SERVICE_PARSER.parse({ metadata, spec, ...more } as KubeObject);
  if (service === undefined) throw new Error("a Service is never dropped");
  return service;
}

const PLAIN = { type: "ClusterIP", clusterIP: "10.96.0.1", clusterIPs: ["10.96.0.1"], ports: [{ port: 80 }] };

describe("recorded answers of an API server", () => {
  test("parses a Service of type NodePort", () => {
    const web = recordedItems("30-list-services.http").find(({ metadata }) => metadata.name === "web") as KubeObject;
    expect(SERVICE_PARSER.parse(web)).toEqual({
      type: "NodePort",
      clusterIPs: [{ family: 4, value: 0x0afa685bn }],
      ports: [
        { name: "http", protocol: 6, port: 80, nodePort: 30080 },
        { name: "udp", protocol: 17, port: 81, nodePort: 30081 },
      ],
      externalIPs: [],
      loadBalancerIPs: [],
      sourceRanges: [],
      affinitySeconds: undefined,
      internalTrafficPolicy: "Cluster",
      externalTrafficPolicy: "Cluster",
      healthCheckNodePort: 0,
      created: "2026-11-30T02:49:30Z",
      problems: [],
    });
  });

  test("parses all Services without problems", () => {
    const items = recordedItems("30-list-services.http");
    expect(items.length).toBeGreaterThan(2);
    expect(items.flatMap((item) => SERVICE_PARSER.parse(item)?.problems ?? ["dropped"])).toEqual([]);
  });
});

describe("addresses", () => {
  const texts = (service: Service) => service.clusterIPs.map(formatAddress);

  test.each([
    ["headless by None", { clusterIP: "None", clusterIPs: ["None"] }, []],
    ["headless by an empty address", { clusterIP: "" }, []],
    ["without addresses", {}, []],
    ["the older, single field", { clusterIP: "10.96.0.1" }, ["10.96.0.1"]],
    ["dual stack", { clusterIP: "10.96.0.1", clusterIPs: ["10.96.0.1", "fd00::1"] }, ["10.96.0.1", "fd00::1"]],
    ["leading zeros", { clusterIPs: ["010.096.0.1"] }, ["10.96.0.1"]],
    ["ExternalName, with an address from an earlier type", { ...PLAIN, type: "ExternalName" }, []],
  ])("clusterIPs: %s", (_, spec, expected) => {
    const service = parse(spec);
    expect([texts(service), service.problems]).toEqual([expected, []]);
  });

  test("uses the first of two ClusterIPs of a family and reports the other", () => {
    const service = parse({ clusterIPs: ["10.96.0.1", "10.96.0.2"] });
    expect([texts(service), service.problems]).toEqual([
      ["10.96.0.1"],
      ["spec.clusterIPs: more than one IPv4 address: using only the first"],
    ]);
  });

  test("leaves out invalid externalIPs and names them", () => {
    const service = parse({ ...PLAIN, externalIPs: ["192.0.2.1", "example.com", 7] });
    expect(service.externalIPs.map(formatAddress)).toEqual(["192.0.2.1"]);
    expect(service.problems).toEqual([
      expect.stringMatching(/^spec\.externalIPs: "example\.com" is not an IP address: .*: ignored$/),
      "spec.externalIPs: 7 is not a string: ignored",
    ]);
  });

  test("uses only a load balancer's addresses with ipMode VIP or without ipMode", () => {
    const ingress = [
      { ip: "192.0.2.1" },
      { ip: "192.0.2.2", ipMode: "VIP" },
      { ip: "192.0.2.3", ipMode: "Proxy" },
      { hostname: "lb.example.com" },
      { ip: "" },
      { ip: "2001:db8::1" },
    ];
    const service = parse(PLAIN, { status: { loadBalancer: { ingress } } });
    expect(service.loadBalancerIPs.map(formatAddress)).toEqual(["192.0.2.1", "192.0.2.2", "2001:db8::1"]);
    expect(service.problems).toEqual([]);
  });

  test("accepts white space, leading zeros and host bits in source ranges", () => {
    const loadBalancerSourceRanges = [" 10.0.0.0/8 ", "192.168.001.1/24", "fd00::/8", "10.0.0.0/40"];
    const service = parse({ ...PLAIN, loadBalancerSourceRanges });
    expect(service.sourceRanges.map(formatPrefix)).toEqual(["10.0.0.0/8", "192.168.1.0/24", "fd00::/8"]);
    expect(service.problems).toEqual([expect.stringMatching(/^spec\.loadBalancerSourceRanges: "10\.0\.0\.0\/40"/)]);
  });
});

describe("ports", () => {
  test("have defaults for protocol and name; 0 means no NodePort", () => {
    const ports = [
      { port: 80 },
      { name: "dns", port: 53, protocol: "UDP", nodePort: 30053 },
      { port: 9, protocol: "SCTP" },
    ];
    expect(parse({ ...PLAIN, ports }).ports).toEqual([
      { name: "", protocol: 6, port: 80, nodePort: 0 },
      { name: "dns", protocol: 17, port: 53, nodePort: 30053 },
      { name: "", protocol: 132, port: 9, nodePort: 0 },
    ]);
  });

  test("with unknown protocols and invalid numbers are left out and named", () => {
    const service = parse({
      ...PLAIN,
      ports: [{ port: 80, protocol: "DCCP" }, { port: 70_000 }, { port: "80" }, null],
    });
    expect(service.ports).toEqual([]);
    expect(service.problems).toEqual([
      'spec.ports[0].protocol: "DCCP" is not TCP, UDP or SCTP: ignored',
      "spec.ports[1].port: 70000 is not a port: expected a number from 1 to 65535: ignored",
      'spec.ports[2].port: "80" is not a port: expected a number from 1 to 65535: ignored',
    ]);
  });
});

describe("session affinity", () => {
  const affinity = (timeoutSeconds?: unknown) => ({
    ...PLAIN,
    sessionAffinity: "ClientIP",
    ...(timeoutSeconds !== undefined && { sessionAffinityConfig: { clientIP: { timeoutSeconds } } }),
  });

  test.each([
    [PLAIN, undefined],
    [{ ...PLAIN, sessionAffinity: "None", sessionAffinityConfig: { clientIP: { timeoutSeconds: 9 } } }, undefined],
    [affinity(), 10_800],
    [affinity(1), 1],
    [affinity(86_400), 86_400],
  ])("%j lasts %s s", (spec, seconds) => {
    const service = parse(spec);
    expect([service.affinitySeconds, service.problems]).toEqual([seconds, []]);
  });

  test.each([0, 86_401, 1.5, "60"])("reports %j seconds as a problem and uses the default", (seconds) => {
    const service = parse(affinity(seconds));
    expect([service.affinitySeconds, service.problems.length]).toEqual([10_800, 1]);
  });
});

test("traffic policies are Cluster unless Local is set", () => {
  const policies = ({ internalTrafficPolicy, externalTrafficPolicy, problems }: Service) => {
    return [internalTrafficPolicy, externalTrafficPolicy, problems.length];
  };
  expect(policies(parse(PLAIN))).toEqual(["Cluster", "Cluster", 0]);
  expect(policies(parse({ ...PLAIN, internalTrafficPolicy: "Local", externalTrafficPolicy: "" }))).toEqual([
    ...["Local", "Cluster", 0],
  ]);
  expect(policies(parse({ ...PLAIN, externalTrafficPolicy: "local" }))).toEqual(["Cluster", "Cluster", 1]);
});

test("never throws for any content", () => {
  const field = fc.jsonValue({ maxDepth: 4 });
  const names = ["type", "clusterIP", "clusterIPs", "ports", "externalIPs", "loadBalancerSourceRanges"];
  const more = ["sessionAffinity", "sessionAffinityConfig", "healthCheckNodePort", "externalTrafficPolicy"];
  const spec = fc.dictionary(fc.constantFrom(...names, ...more), field);
  const status = fc.record({
    loadBalancer: fc.record({
      ingress: fc.oneof(field, fc.array(fc.dictionary(fc.constantFrom("ip", "ipMode"), field))),
    }),
  });
  fc.assert(
    fc.property(fc.oneof(spec, field), fc.oneof(status, field), (someSpec, someStatus) => {
      expect(parse(someSpec, { status: someStatus })).toBeDefined();
    }),
  );
});

describe("the selection", () => {
  const { startServer, connect, follow } = storeBed();

  test("excludes Services of other proxies and headless ones, also after label changes", async () => {
    const server = await startServer();
    const services = server.cluster.of("services");
    const create = (name: string, labels = {}) =>
      services.create({ metadata: { name, namespace: "default", labels }, spec: { ports: [{ port: 80 }] } });
    create("web");
    create("foreign", { "service.kubernetes.io/service-proxy-name": "other" });
    create("headless", { "service.kubernetes.io/headless": "" });
    const { store, watching } = follow(connect(server), SERVICE_PARSER, { selection: SERVICE_SELECTION });
    const keys = () => store.list().map(({ key }) => key);
    await watching();
    expect(keys()).toEqual(["default/web"]);
    services.update("default/foreign", (object) => ({ ...object, metadata: { ...object.metadata, labels: {} } }));
    await until(() => store.size === 2);
    const labels = { "service.kubernetes.io/service-proxy-name": "" };
    services.update("default/web", (object) => ({ ...object, metadata: { ...object.metadata, labels } }));
    await until(() => store.size === 1);
    expect(keys()).toEqual(["default/foreign"]);
  });
});
