/** Tests that each kind of difference between the kernel and weftd's frontends is reported, and nothing else. */
import { describe, expect, test } from "vitest";
import { parseAddress } from "../../pkg/ip/address.ts";
import type { Frontend } from "../../pkg/services/frontend.ts";
import type { Outcome } from "../../pkg/services/outcome.ts";
import { type Deed, difference } from "./model.ts";

const A = "10.244.1.5:8080";
const B = "10.244.2.7:8080";
const endpoint = (text: string) => ({ address: parseAddress(text.replace(/:.*/, "")), port: 8080, isLocal: false });
const FRONTEND: Frontend = {
  ...{ kind: "ClusterIP", address: parseAddress("10.96.0.1"), protocol: 6, port: 80, service: "a/web", portName: "" },
  ...{ policy: "internal", endpoints: [endpoint(A), endpoint(B)], localEndpoints: [], withoutEndpoint: undefined },
  ...{ allowedSources: undefined, affinity: undefined },
};
const toBoth = (masquerade?: string, frontend = FRONTEND): Outcome => ({
  ...{ verdict: "endpoints", frontend, reason: "ClusterIP of a/web" },
  choices: [A, B].map((text) => ({ endpoint: endpoint(text), obstacle: undefined, masquerade })),
});
const sticky = { ...FRONTEND, affinity: { seconds: 60, key: "" } };
const refused: Outcome = { verdict: "reject", frontend: FRONTEND, reason: "a/web has no usable endpoint" };
const untouched: Outcome = { verdict: "untouched", frontend: undefined, reason: "no Service answers" };
const deed = (change: Partial<Deed> = {}): Deed => ({
  ...{ targets: [A, B], refusal: undefined, isMasqueraded: false },
  ...change,
});

describe("agrees", () => {
  const cases: [string, Outcome, Deed][] = [
    ["all endpoints, in any order", toBoth(), deed({ targets: [B, A] })],
    ["masqueraded on both sides", toBoth("it comes from outside"), deed({ isMasqueraded: true })],
    [
      "the packet did not reach the masquerade rules",
      toBoth("it comes from outside"),
      deed({ isMasqueraded: undefined }),
    ],
    ["a client that keeps its endpoint", toBoth(undefined, sticky), deed({ targets: [A] })],
    ["rejected on both sides", refused, deed({ targets: [], refusal: "reject" })],
    ["not changed", untouched, deed({ targets: [] })],
  ];
  test.each(cases)("%s", (_name, outcome, does) => {
    expect(difference(outcome, does, A)).toBeUndefined();
  });
});

describe("differs", () => {
  const cases: [string, Outcome, Deed, RegExp][] = [
    [
      "an endpoint is missing",
      toBoth(),
      deed({ targets: [A] }),
      /expects it to go to .*5:8080, .*7:8080, but the kernel sends it to .*5:8080$/,
    ],
    ["an endpoint differs", toBoth(), deed({ targets: [A, "10.244.9.9:8080"] }), /but the kernel sends it to/],
    [
      "a client is sent to no endpoint",
      toBoth(undefined, sticky),
      deed({ targets: [] }),
      /the kernel does not change it/,
    ],
    ["it is rejected", toBoth(), deed({ targets: [], refusal: "reject" }), /the kernel rejects it/],
    [
      "it is not rejected",
      refused,
      deed(),
      /expects a verdict of reject \(a\/web has no usable endpoint\), but the kernel sends it to/,
    ],
    ["it is dropped, not rejected", refused, deed({ targets: [], refusal: "drop" }), /but the kernel drops it/],
    [
      "it is changed",
      untouched,
      deed({ targets: [], refusal: "drop" }),
      /expects no change by Services, but the kernel drops it/,
    ],
    ["it is masqueraded", toBoth(), deed({ isMasqueraded: true }), /the kernel masquerades it/],
    [
      "it is not masqueraded",
      toBoth("it comes from outside"),
      deed(),
      /expects it to be masqueraded \(it comes from outside\), but the kernel does not masquerade it/,
    ],
  ];
  test.each(cases)("%s", (_name, outcome, does, words) => {
    expect(difference(outcome, does, A)).toMatch(words);
  });
});
