import { describe, expect, test } from "vitest";
import {
  addresses,
  endpoint,
  LOCAL,
  nodeFacts,
  port,
  service,
  slice,
  TERMINATED,
  TERMINATING,
  UNREADY,
} from "../../test/services/core-bed.ts";
import type { SliceEndpoint } from "../cluster/service/endpoint-slice.ts";
import type { Service } from "../cluster/service/service.ts";
import { formatAddress } from "../ip/address.ts";
import type { NodeFacts } from "./node-facts.ts";
import { ServiceMap } from "./service-map.ts";

const WEB = "default/web";

function report(endpoints: readonly SliceEndpoint[], more: Partial<Service> = {}, node: Partial<NodeFacts> = {}) {
  const map = new ServiceMap();
  map.setNode(nodeFacts(node));
  map.setService(WEB, service(more));
  map.setSlices(WEB, [slice(endpoints)]);
  const made = map.report(WEB);
  if (made === undefined) throw new Error("no report of a known Service");
  return made;
}

const verdicts = (...args: Parameters<typeof report>) =>
  report(...args).endpoints.map(({ address, verdict }) => `${formatAddress(address).split(".")[3]}: ${verdict}`);

const NODE_PORT = { type: "NodePort", ports: [port(80, { nodePort: 30080 })] } as const;
const [A, B, C] = ["10.244.1.1", "10.244.1.2", "10.244.1.3"] as const;

describe("an endpoint", () => {
  test("is used, or not ready, or terminating", () => {
    expect(verdicts([endpoint(A), endpoint(B, UNREADY), endpoint(C, TERMINATED)])).toEqual([
      "1: used",
      "2: not ready",
      "3: terminating",
    ]);
  });

  test("that is terminating and serving is used if none is ready", () => {
    expect(verdicts([endpoint(A, TERMINATING)])).toEqual(["1: used"]);
    expect(verdicts([endpoint(A, TERMINATING), endpoint(B)])).toEqual([
      "1: terminating, while other endpoints are ready",
      "2: used",
    ]);
  });

  test("with a refused address is not used", () => {
    expect(verdicts([endpoint("127.0.0.1"), endpoint(A)])).toEqual(["1: used", "1: refused: the address is loopback"]);
  });

  test("for other zones or nodes has a verdict that names them", () => {
    const zones = [endpoint(A, { zoneHints: ["a"] }), endpoint(B, { zoneHints: ["b", "c"] })];
    expect(verdicts(zones)).toEqual(["1: used", "2: its topology hints are for zones b, c"]);
    const nodes = [endpoint(A, { nodeHints: ["n1"] }), endpoint(B, { nodeHints: ["n2"] })];
    expect(verdicts(nodes)).toEqual(["1: used", "2: its topology hints are for nodes n2"]);
  });

  test("on another node is not used if the policy is Local", () => {
    expect(verdicts([endpoint(A, LOCAL), endpoint(B)], { internalTrafficPolicy: "Local" })).toEqual([
      "1: used",
      "2: on another node, and the traffic policy is Local",
    ]);
  });

  test("on another node is not used by policy Local, whatever its hints", () => {
    const zones = [endpoint(A, { ...LOCAL, zoneHints: ["a"] }), endpoint(B, { zoneHints: ["b"] })];
    expect(verdicts(zones, { internalTrafficPolicy: "Local" })[1]).toBe(
      "2: on another node, and the traffic policy is Local",
    );
  });

  test("with hints for another node is reported by its hints, even if all used endpoints are local", () => {
    const nodes = [endpoint(A, { ...LOCAL, nodeHints: ["n1"] }), endpoint(B, { nodeHints: ["n2"] })];
    expect(verdicts(nodes)[1]).toBe("2: its topology hints are for nodes n2");
  });

  test("may be used by some traffic only", () => {
    const two = [endpoint(A, LOCAL), endpoint(B)];
    expect(verdicts(two, { ...NODE_PORT, internalTrafficPolicy: "Local" })).toEqual([
      "1: used",
      "2: used by external traffic only",
    ]);
    expect(verdicts(two, { ...NODE_PORT, externalTrafficPolicy: "Local" })).toEqual([
      "1: used",
      "2: used by the ClusterIP and external traffic from this node and its pods only",
    ]);
  });

  test("of a port whose frontends are all refused is not used", () => {
    const reserved = [{ address: addresses("10.96.0.1")[0] ?? { family: 4, value: 0n }, port: 80 } as const];
    expect(verdicts([endpoint(A)], {}, { reserved })).toEqual(["1: its port has no frontend on this node"]);
  });

  test("has its pod, node and the port's name", () => {
    expect(report([endpoint(A, { pod: "default/web-0" })]).endpoints).toMatchObject([
      { port: 8080, portName: "", protocol: 6, nodeName: "n2", pod: "default/web-0", isLocal: false, isUsed: true },
    ]);
  });
});

test("lists the Service's frontends, lost ones with the winner, and refused ones with the reason", () => {
  const map = new ServiceMap();
  map.setNode(nodeFacts());
  map.setService(
    "default/first",
    service({ clusterIPs: addresses("10.96.0.9"), externalIPs: addresses("203.0.113.1") }),
  );
  map.setService(WEB, service({ externalIPs: addresses("203.0.113.1", "127.0.0.1"), problems: ["spec.x: odd"] }));
  const made = map.report(WEB);
  expect(made?.frontends.map(({ kind }) => kind)).toEqual(["ClusterIP"]);
  expect(made?.lost).toMatchObject([{ frontend: { kind: "ExternalIP" }, winner: { service: "default/first" } }]);
  expect(made?.refused).toMatchObject([{ kind: "ExternalIP", reason: "the address is loopback" }]);
  expect(made?.problems).toEqual(["spec.x: odd"]);
});

test("reports a port that no EndpointSlice has", () => {
  const { problems } = report([endpoint(A)], { ports: [port(80), port(9090, { name: "metrics" })] });
  expect(problems).toEqual(['port "metrics": no EndpointSlice has a port of this name and protocol']);
});

test("reports slices of a family without a ClusterIP", () => {
  const map = new ServiceMap();
  map.setNode(nodeFacts());
  map.setService(WEB, service());
  map.setSlices(WEB, [slice([A]), slice(["fd00:244::1"])]);
  expect(map.report(WEB)?.problems).toEqual(["the Service has IPv6 endpoints but no IPv6 ClusterIP"]);
});

test("an unknown Service has no report", () => {
  const map = new ServiceMap();
  map.setNode(nodeFacts());
  map.setSlices(WEB, [slice([A])]);
  expect(map.report(WEB)).toBeUndefined();
});
