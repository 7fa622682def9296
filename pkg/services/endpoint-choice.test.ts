import { describe, expect, test } from "vitest";
import {
  endpoint,
  formatEndpoints,
  LOCAL,
  slice,
  TERMINATED,
  TERMINATING,
  UNREADY,
} from "../../test/services/core-bed.ts";
import type { SliceEndpoint } from "../cluster/service/endpoint-slice.ts";
import { type ChoicePolicies, chooseEndpoints } from "./endpoint-choice.ts";
import { mergeEndpoints } from "./merged-endpoints.ts";

const NODE = { name: "n1", zone: "a" };
const [A, B, C] = ["10.0.0.1", "10.0.0.2", "10.0.0.3"] as const;

function choose(
  endpoints: readonly SliceEndpoint[],
  policies: Partial<ChoicePolicies> = {},
  node: typeof NODE | { name: string; zone: undefined } = NODE,
) {
  const merged = mergeEndpoints([slice(endpoints, { family: 4 })], 4, { name: "", protocol: 6 }, node.name);
  const choice = chooseEndpoints(merged, { internal: "Cluster", external: undefined, ...policies }, node);
  const hosts = (list: typeof choice.cluster) => formatEndpoints(list).replaceAll(":8080", "");
  return { cluster: hosts(choice.cluster), local: hosts(choice.local), hasAny: choice.hasAny };
}

/** What `choose` finds of the cluster's list. */
const cluster = (endpoints: readonly SliceEndpoint[], node?: typeof NODE | { name: string; zone: undefined }) =>
  choose(endpoints, {}, node).cluster;

describe("readiness", () => {
  test("only ready endpoints are chosen while there is one", () => {
    expect(cluster([endpoint(A), endpoint(B, UNREADY), endpoint(C, TERMINATING)])).toBe(A);
  });

  test("without a ready one, all that serve while they terminate are", () => {
    const some = [endpoint(A, UNREADY), endpoint(B, TERMINATING), endpoint(C, TERMINATED)];
    expect(choose(some)).toEqual({ cluster: B, local: "-", hasAny: true });
  });

  test("one that is ready while it terminates is chosen (publishNotReadyAddresses)", () => {
    expect(cluster([endpoint(A, { isTerminating: true }), endpoint(B, TERMINATING)])).toBe(A);
  });

  test("endpoints of which none is usable are as none", () => {
    const some = [endpoint(A, UNREADY), endpoint(B, TERMINATED), endpoint(C, { isReady: false })];
    expect(choose(some, { external: "Local" })).toEqual({ cluster: "-", local: "-", hasAny: false });
    expect(choose([])).toEqual({ cluster: "-", local: "-", hasAny: false });
  });
});

describe("which lists a port has", () => {
  const some = [endpoint(A, LOCAL), endpoint(B)];
  test.each([
    ["Cluster", undefined, `${A}*, ${B}`, "-"],
    ["Local", undefined, "-", `${A}*`],
    ["Cluster", "Cluster", `${A}*, ${B}`, "-"],
    ["Cluster", "Local", `${A}*, ${B}`, `${A}*`],
    ["Local", "Cluster", `${A}*, ${B}`, `${A}*`],
    ["Local", "Local", `${A}*, ${B}`, `${A}*`],
  ] as const)("internal %s, external %s: cluster %s, local %s", (internal, external, all, local) => {
    expect(choose(some, { internal, external })).toEqual({ cluster: all, local, hasAny: true });
  });

  test("the local list falls back to what terminates here while others are ready elsewhere", () => {
    const some = [endpoint(A, { ...LOCAL, ...TERMINATING }), endpoint(B), endpoint(C, TERMINATING)];
    expect(choose(some, { external: "Local" })).toEqual({ cluster: B, local: `${A}*`, hasAny: true });
  });

  test("without a local list, an endpoint elsewhere is any", () => {
    expect(choose([endpoint(B)], { internal: "Local" })).toEqual({ cluster: "-", local: "-", hasAny: true });
    expect(choose([endpoint(B, TERMINATING)], { internal: "Local" })).toMatchObject({ local: "-", hasAny: true });
  });
});

describe("topology hints", () => {
  const zone = (...zoneHints: string[]) => ({ zoneHints });
  const node = (...nodeHints: string[]) => ({ nodeHints });

  test("of zones leave the endpoints for this node's zone", () => {
    expect(cluster([endpoint(A, zone("a")), endpoint(B, zone("b")), endpoint(C, zone("b", "a"))])).toBe(`${A}, ${C}`);
  });

  test("of nodes go before those of zones", () => {
    const some = [endpoint(A, { ...node("n2"), ...zone("a") }), endpoint(B, { ...node("n1"), ...zone("b") })];
    expect(cluster(some)).toBe(B);
  });

  test("of nodes, none of which is this one, leave it to those of zones", () => {
    const some = [endpoint(A, { ...node("n2"), ...zone("a") }), endpoint(B, { ...node("n3"), ...zone("b") })];
    expect(cluster(some)).toBe(A);
  });

  test("count for nothing where one ready endpoint has none", () => {
    expect(cluster([endpoint(A, zone("a")), endpoint(B, zone("b")), endpoint(C)])).toBe(`${A}, ${B}, ${C}`);
    expect(cluster([endpoint(A, node("n1")), endpoint(B)])).toBe(`${A}, ${B}`);
  });

  test("may be missing from endpoints that are not ready", () => {
    expect(cluster([endpoint(A, zone("a")), endpoint(B, zone("b")), endpoint(C, UNREADY)])).toBe(A);
  });

  test("count for nothing where the only endpoint for this zone is not ready", () => {
    const some = [endpoint(A, { ...zone("a"), ...UNREADY }), endpoint(B, zone("b"))];
    expect(cluster(some)).toBe(B);
  });

  test("count for nothing where no zone is this node's", () => {
    expect(cluster([endpoint(A, zone("b")), endpoint(B, zone("c"))])).toBe(`${A}, ${B}`);
  });

  test("of zones count for nothing on a node without a zone", () => {
    expect(cluster([endpoint(A, zone("a")), endpoint(B, zone("b"))], { name: "n1", zone: undefined })).toBe(
      `${A}, ${B}`,
    );
  });

  test("do not keep from endpoints that terminate where none is ready", () => {
    expect(cluster([endpoint(A, { ...zone("b"), ...TERMINATING }), endpoint(B, { ...zone("a"), ...TERMINATED })])).toBe(
      A,
    );
  });

  test("do not concern the local list", () => {
    const some = [endpoint(A, { ...LOCAL, ...zone("b") }), endpoint(B, zone("a"))];
    expect(choose(some, { external: "Local" })).toEqual({ cluster: B, local: `${A}*`, hasAny: true });
  });
});
