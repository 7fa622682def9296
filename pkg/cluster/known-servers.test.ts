import { expect, test } from "vitest";
import { parseAddress } from "../ip/address.ts";
import {
  apiEndpointsOf,
  formatApiEndpoint,
  formatKnownServers,
  parseApiEndpoint,
  parseKnownServers,
} from "./known-servers.ts";
import type { EndpointSlice, SliceEndpoint } from "./service/endpoint-slice.ts";

const endpoint = (address: string, isReady = true): SliceEndpoint => ({
  ...{ address: parseAddress(address), isReady, isServing: isReady, isTerminating: false },
  ...{ nodeName: undefined, nodeHints: undefined, zoneHints: undefined, pod: undefined },
});
const slice = (endpoints: readonly SliceEndpoint[], portName = "https"): EndpointSlice => ({
  ...{ service: "default/kubernetes", family: 4, endpoints, triggeredMs: undefined },
  ports: [{ name: portName, protocol: 6, port: 6443 }],
});

test("returns serving endpoints, sorted, without duplicates", () => {
  const slices = [
    slice([endpoint("192.0.2.2"), endpoint("192.0.2.1"), endpoint("192.0.2.3", false)]),
    slice([endpoint("192.0.2.2")]),
    slice([endpoint("192.0.2.9")], "metrics"),
  ];
  expect(apiEndpointsOf(slices).map(formatApiEndpoint)).toEqual(["192.0.2.1:6443", "192.0.2.2:6443"]);
});

test("endpoints are the same after formatting and parsing", () => {
  const endpoints = ["192.0.2.1:6443", "[2001:db8::1]:443"].map(parseApiEndpoint);
  expect(formatKnownServers(endpoints)).toBe('{"version":1,"endpoints":["192.0.2.1:6443","[2001:db8::1]:443"]}\n');
  expect(parseKnownServers(formatKnownServers(endpoints))).toEqual(endpoints);
});

test.each([
  "",
  "null",
  "[]",
  '{"version":2,"endpoints":[]}',
  '{"version":1}',
  '{"version":1,"endpoints":["api.example:6443"]}',
  '{"version":1,"endpoints":["192.0.2.1"]}',
  '{"version":1,"endpoints":["192.0.2.1:0"]}',
  '{"version":1,"endpoints":["192.0.2.1:66000"]}',
  '{"version":1,"endpoints":["[192.0.2.1:6443"]}',
])("refuses %s", (text) => {
  expect(() => parseKnownServers(text)).toThrow();
});
