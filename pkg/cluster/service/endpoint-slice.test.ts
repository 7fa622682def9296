import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { recordedEvents, recordedItems } from "../../../test/apiserver/recorded.ts";
import { formatAddress } from "../../ip/address.ts";
import type { KubeObject } from "../resource.ts";
import { ENDPOINT_SLICE_PARSER, type EndpointSlice } from "./endpoint-slice.ts";

const LABELS = { "kubernetes.io/service-name": "web" };

function parse(content: object, metadata: object = {}): EndpointSlice | undefined {
  const whole = { name: "web-1", namespace: "default", labels: LABELS, ...metadata };
  return ENDPOINT_SLICE_PARSER.parse({ metadata: whole, addressType: "IPv4", ...content } as KubeObject);
}

const one = (endpoint: object) => parse({ endpoints: [{ addresses: ["10.244.1.1"], ...endpoint }] })?.endpoints[0];

describe("recorded answers of an API server", () => {
  test("parses a slice of a Deployment's pods", () => {
    const [, web] = recordedItems("31-list-endpointslices.http").map(ENDPOINT_SLICE_PARSER.parse);
    expect(web).toMatchObject({
      service: "default/web",
      family: 4,
      triggeredMs: Date.parse("2026-11-30T03:00:41Z"),
      ports: [
        { name: "http", protocol: 6, port: 8080 },
        { name: "udp", protocol: 17, port: 8081 },
      ],
    });
    expect(web?.endpoints[0]).toEqual({
      address: { family: 4, value: 0x0af40223n },
      isReady: true,
      isServing: true,
      isTerminating: false,
      nodeName: "n1",
      nodeHints: undefined,
      zoneHints: undefined,
      pod: "default/web-798d94cb8d-vj6wx",
    });
  });

  test("parses the API server's own slice, which has no conditions and node names", () => {
    const [own] = recordedItems("31-list-endpointslices.http").map(ENDPOINT_SLICE_PARSER.parse);
    expect(own?.endpoints).toEqual([
      expect.objectContaining({ isReady: true, isServing: true, isTerminating: false, nodeName: undefined }),
    ]);
  });

  test("parses the slices of a watch without problems", () => {
    const parsed = recordedEvents("39-watch-endpointslices-initial.http").map(ENDPOINT_SLICE_PARSER.parse);
    expect(parsed.length).toBeGreaterThan(5);
    for (const each of parsed) {
      expect(each?.service).toMatch(/^rec\//);
      expect(each?.problems).toBeUndefined();
    }
  });
});

describe("ignores", () => {
  test.each([
    ["host names", { addressType: "FQDN", endpoints: [{ addresses: ["a.example"] }] }, {}],
    ["an unknown type of address", { addressType: "MAC" }, {}],
    ["a slice without the Service's label", {}, { labels: { app: "web" } }],
    ["a slice with an empty label", {}, { labels: { "kubernetes.io/service-name": "" } }],
    ["a slice without labels", {}, { labels: undefined }],
  ])("%s", (_, content, metadata) => {
    expect(parse(content, metadata)).toBeUndefined();
  });
});

test("a port needs a name, which may be empty, and a number", () => {
  const ports = [
    { port: 1, name: "" },
    { port: 2 },
    { port: 3, name: null },
    { name: "none" },
    { name: "null", port: null },
    { name: "zero", port: 0 },
    { name: "udp", port: 4, protocol: "UDP" },
  ];
  const parsed = parse({ ports });
  expect(parsed?.ports).toEqual([
    { name: "", protocol: 6, port: 1 },
    { name: "udp", protocol: 17, port: 4 },
  ]);
  expect(parsed?.problems).toBeUndefined();
});

describe("an endpoint", () => {
  test.each([
    [undefined, [true, true, false]],
    [{}, [true, true, false]],
    [{ ready: null, serving: null, terminating: null }, [true, true, false]],
    [{ ready: false }, [false, true, false]],
    [{ ready: false, serving: true, terminating: true }, [false, true, true]],
    [{ ready: false, serving: false, terminating: true }, [false, false, true]],
  ])("with conditions %j is ready, serving, terminating: %j", (conditions, expected) => {
    const { isReady, isServing, isTerminating } = one({ conditions }) ?? {};
    expect([isReady, isServing, isTerminating]).toEqual(expected);
  });

  test("uses the first of its addresses, which may have leading zeros", () => {
    const addresses = ["010.244.001.7", "10.244.1.8"];
    const endpoint = one({ addresses });
    expect(endpoint && formatAddress(endpoint.address)).toBe("10.244.1.7");
  });

  test("has hints for nodes and zones; an empty list counts as no hint", () => {
    const hints = { forNodes: [{ name: "n1" }], forZones: [{ name: "a" }, { name: "b" }] };
    expect(one({ hints })).toMatchObject({ nodeHints: ["n1"], zoneHints: ["a", "b"] });
    expect(one({ hints: { forZones: [] } })).toMatchObject({ nodeHints: undefined, zoneHints: undefined });
  });

  test("names a pod only if its target is a pod", () => {
    expect(one({ targetRef: { kind: "Pod", namespace: "default", name: "web-0" } })?.pod).toBe("default/web-0");
    expect(one({ targetRef: { kind: "Node", name: "n1" } })?.pod).toBeUndefined();
  });

  test("is ignored without an address, and reported as a problem with one of another family", () => {
    expect(parse({ endpoints: [{ addresses: [] }, {}] })?.endpoints).toEqual([]);
    const other = parse({ endpoints: [{ addresses: ["fd00::1"] }, { addresses: ["web-0"] }] });
    expect(other?.endpoints).toEqual([]);
    expect(other?.problems).toEqual([
      "endpoints[0].addresses: the first address is not of the slice's addressType, IPv4: ignored",
      expect.stringMatching(/^endpoints\[1\]\.addresses: "web-0" is not an IP address/),
    ]);
  });
});

test.each([
  ["2026-11-30T03:00:41Z", Date.UTC(2026, 10, 30, 3, 0, 41)],
  ["2026-11-30T03:00:41.5Z", Date.UTC(2026, 10, 30, 3, 0, 41, 500)],
  ["yesterday", undefined],
  [undefined, undefined],
])("parses the trigger time %j as %s", (text, expected) => {
  const annotations = { "endpoints.kubernetes.io/last-change-trigger-time": text };
  expect(parse({}, { annotations })?.triggeredMs).toBe(expected);
});

test("never throws for any content", () => {
  const value = fc.jsonValue({ maxDepth: 4 });
  const endpoint = fc.dictionary(fc.constantFrom("addresses", "conditions", "hints", "nodeName", "targetRef"), value);
  const port = fc.dictionary(fc.constantFrom("name", "protocol", "port"), value);
  const content = fc.record({
    endpoints: fc.oneof(value, fc.array(endpoint)),
    ports: fc.oneof(value, fc.array(port)),
  });
  fc.assert(
    fc.property(content, fc.constantFrom("IPv4", "IPv6"), (some, addressType) => {
      expect(parse({ ...some, addressType })).toBeDefined();
    }),
  );
});
