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

/** The cluster list that `choose` returns. */
const cluster = (endpoints: readonly SliceEndpoint[], node?: typeof NODE | { name: string; zone: undefined }) =>
  choose(endpoints, {}, node).cluster;

describe("readiness", () => {
  test("chooses only ready endpoints if there is one", () => {
    expect(cluster([endpoint(A), endpoint(B, UNREADY), endpoint(C, TERMINATING)])).toBe(A);
  });

  test("chooses serving terminating endpoints if none is ready", () => {
    const some = [endpoint(A, UNREADY), endpoint(B, TERMINATING), endpoint(C, TERMINATED)];
    expect(choose(some)).toEqual({ cluster: B, local: "-", hasAny: true });
  });

  test("chooses an endpoint that is ready and terminating (publishNotReadyAddresses)", () => {
    expect(cluster([endpoint(A, { isTerminating: true }), endpoint(B, TERMINATING)])).toBe(A);
  });

  test("treats endpoints of which none is usable like no endpoints", () => {
    const some = [endpoint(A, UNREADY), endpoint(B, TERMINATED), endpoint(C, { isReady: false })];
    expect(choose(some, { external: "Local" })).toEqual({ cluster: "-", local: "-", hasAny: false });
    expect(choose([])).toEqual({ cluster: "-", local: "-", hasAny: false });
  });
});

describe("the lists of a port", () => {
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

  test("the local list falls back to terminating local endpoints, even if others are ready on other nodes", () => {
    const some = [endpoint(A, { ...LOCAL, ...TERMINATING }), endpoint(B), endpoint(C, TERMINATING)];
    expect(choose(some, { external: "Local" })).toEqual({ cluster: B, local: `${A}*`, hasAny: true });
  });

  test("hasAny is true for endpoints on other nodes only", () => {
    expect(choose([endpoint(B)], { internal: "Local" })).toEqual({ cluster: "-", local: "-", hasAny: true });
    expect(choose([endpoint(B, TERMINATING)], { internal: "Local" })).toMatchObject({ local: "-", hasAny: true });
  });
});

describe("topology hints", () => {
  const zone = (...zoneHints: string[]) => ({ zoneHints });
  const node = (...nodeHints: string[]) => ({ nodeHints });

  test("of zones select the endpoints for this node's zone", () => {
    expect(cluster([endpoint(A, zone("a")), endpoint(B, zone("b")), endpoint(C, zone("b", "a"))])).toBe(`${A}, ${C}`);
  });

  test("of nodes have precedence over those of zones", () => {
    const some = [endpoint(A, { ...node("n2"), ...zone("a") }), endpoint(B, { ...node("n1"), ...zone("b") })];
    expect(cluster(some)).toBe(B);
  });

  test("of zones apply if no node hint is for this node", () => {
    const some = [endpoint(A, { ...node("n2"), ...zone("a") }), endpoint(B, { ...node("n3"), ...zone("b") })];
    expect(cluster(some)).toBe(A);
  });

  test("are ignored if a ready endpoint has none", () => {
    expect(cluster([endpoint(A, zone("a")), endpoint(B, zone("b")), endpoint(C)])).toBe(`${A}, ${B}, ${C}`);
    expect(cluster([endpoint(A, node("n1")), endpoint(B)])).toBe(`${A}, ${B}`);
  });

  test("may be missing from endpoints that are not ready", () => {
    expect(cluster([endpoint(A, zone("a")), endpoint(B, zone("b")), endpoint(C, UNREADY)])).toBe(A);
  });

  test("are ignored if the only endpoint for this zone is not ready", () => {
    const some = [endpoint(A, { ...zone("a"), ...UNREADY }), endpoint(B, zone("b"))];
    expect(cluster(some)).toBe(B);
  });

  test("are ignored if none is for this node's zone", () => {
    expect(cluster([endpoint(A, zone("b")), endpoint(B, zone("c"))])).toBe(`${A}, ${B}`);
  });

  test("of zones are ignored on a node without a zone", () => {
    expect(cluster([endpoint(A, zone("a")), endpoint(B, zone("b"))], { name: "n1", zone: undefined })).toBe(
      `${A}, ${B}`,
    );
  });

  test("do not apply to terminating endpoints if none is ready", () => {
    expect(cluster([endpoint(A, { ...zone("b"), ...TERMINATING }), endpoint(B, { ...zone("a"), ...TERMINATED })])).toBe(
      A,
    );
  });

  test("do not apply to the local list", () => {
    const some = [endpoint(A, { ...LOCAL, ...zone("b") }), endpoint(B, zone("a"))];
    expect(choose(some, { external: "Local" })).toEqual({ cluster: B, local: `${A}*`, hasAny: true });
  });
});
