import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { endpoint, LOCAL, slice, TERMINATED, TERMINATING, UNREADY } from "../../test/services/core-bed.ts";
import { formatAddress } from "../ip/address.ts";
import { mergeEndpoints } from "./merged-endpoints.ts";

const PORT = { name: "", protocol: 6 } as const;
const merge = (...slices: Parameters<typeof mergeEndpoints>[0]) => mergeEndpoints(slices, 4, PORT, "n1");
const targets = (...slices: Parameters<typeof mergeEndpoints>[0]) =>
  merge(...slices).map(({ endpoint: { address, port } }) => `${formatAddress(address)}:${port}`);

describe("an address in two slices", () => {
  const A = "10.244.1.1";
  test.each([
    ["ready over not ready", endpoint(A), endpoint(A, UNREADY)],
    ["ready over terminating", endpoint(A), endpoint(A, TERMINATING)],
    [
      "not ready over terminating, as for a new pod with the address of an old one",
      endpoint(A, UNREADY),
      endpoint(A, TERMINATING),
    ],
    ["serving over not serving, if both are terminating", endpoint(A, TERMINATING), endpoint(A, TERMINATED)],
    ["local over remote", endpoint(A, LOCAL), endpoint(A)],
    ["ready and remote over local and not ready", endpoint(A), endpoint(A, { ...LOCAL, ...UNREADY })],
  ])("counts as %s, in either order of slices", (_, stronger, weaker) => {
    expect(merge(slice([stronger]), slice([weaker])).map(({ source }) => source)).toEqual([stronger]);
    expect(merge(slice([weaker]), slice([stronger])).map(({ source }) => source)).toEqual([stronger]);
  });

  test("with different ports is two endpoints", () => {
    const ports = [{ name: "", protocol: 6, port: 9090 }] as const;
    expect(targets(slice([A]), slice([A], { ports }))).toEqual(["10.244.1.1:8080", "10.244.1.1:9090"]);
  });
});

test("endpoints are sorted by address and port, whatever the order of slices", () => {
  const one = slice(["10.244.10.1", "10.244.9.1"]);
  const other = slice(["10.244.1.1"]);
  const sorted = ["10.244.1.1:8080", "10.244.9.1:8080", "10.244.10.1:8080"];
  expect([targets(one, other), targets(other, one)]).toEqual([sorted, sorted]);
});

test("an endpoint is local if its node name is this node's; without a name it is remote", () => {
  const some = [endpoint("10.244.1.1", LOCAL), endpoint("10.244.1.2"), endpoint("10.244.1.3", { nodeName: undefined })];
  expect(merge(slice(some)).map(({ endpoint: { isLocal } }) => isLocal)).toEqual([true, false, false]);
});

test("uses only ports with the Service port's name and protocol, and each slice's own port number", () => {
  const ports = [
    { name: "", protocol: 6, port: 1 },
    { name: "", protocol: 17, port: 2 },
    { name: "dns", protocol: 6, port: 3 },
  ] as const;
  expect(targets(slice(["10.244.1.1"], { ports }))).toEqual(["10.244.1.1:1"]);
});

test("ignores slices of the other family", () => {
  expect(targets(slice(["fd00::1"]), slice(["10.244.1.1"]))).toEqual(["10.244.1.1:8080"]);
});

test("every order of slices gives the same result", () => {
  const conditions = { isReady: fc.boolean(), isServing: fc.boolean(), isTerminating: fc.boolean() };
  const some = fc.record({
    address: fc.constantFrom("10.244.1.1", "10.244.1.2").map((text) => endpoint(text).address),
    ...conditions,
    nodeName: fc.constantFrom("n1", "n2", undefined),
    nodeHints: fc.constantFrom(undefined, ["n1"]),
    zoneHints: fc.constantFrom(undefined, ["a"], ["b"]),
    pod: fc.constantFrom("default/a", "default/b", undefined),
  });
  const slices = fc.array(fc.array(some, { maxLength: 3 }), { minLength: 2, maxLength: 4 });
  fc.assert(
    fc.property(slices, (lists) => {
      const all = lists.map((endpoints) => slice(endpoints, { family: 4 }));
      const backwards = all.toReversed().map((each) => ({ ...each, endpoints: each.endpoints.toReversed() }));
      expect(merge(...backwards)).toEqual(merge(...all));
    }),
  );
});
