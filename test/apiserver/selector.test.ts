import { expect, test } from "vitest";
import { ENDPOINT_SLICES, NODES, PODS, SERVICES } from "./kinds.ts";
import type { KubeObject } from "./resource.ts";
import { parseLabelSelector, parseScope } from "./selector.ts";

function labelled(labels: Record<string, string> | undefined): KubeObject {
  const metadata = { name: "a", namespace: "default", ...(labels === undefined ? {} : { labels }) };
  return { kind: "Service", apiVersion: "v1", metadata };
}

const WEB = { app: "web", "example.org/tier": "front", size: "3", empty: "" };

test.each([
  ["", true],
  ["app", true],
  ["!app", false],
  ["! absent", true],
  ["absent", false],
  ["app=web", true],
  ["app == web", true],
  ["app=dns", false],
  ["app!=dns", true],
  ["app!=web", false],
  ["absent!=web", true],
  ["absent=web", false],
  ["empty=", true],
  ["absent=", false],
  ["app in (dns, web)", true],
  ["app in (dns)", false],
  ["absent in (web)", false],
  ["app notin (dns,web)", false],
  ["absent notin (dns, web)", true],
  ["size>2", true],
  ["size > 3", false],
  ["size<4", true],
  ["app>1", false],
  ["example.org/tier=front,app in (web, dns),!absent", true],
  ["example.org/tier=front,app in (dns,other),!absent", false],
  ["!service.kubernetes.io/headless,!service.kubernetes.io/service-proxy-name", true],
])("labelSelector %j of a Service with labels: %j", (selector, expected) => {
  const scope = parseScope(SERVICES, undefined, new URLSearchParams({ labelSelector: selector }));
  expect(scope.selects(labelled(WEB))).toBe(expected);
});

test("an object without labels matches only negative selectors", () => {
  const selects = (labelSelector: string) =>
    parseScope(SERVICES, undefined, new URLSearchParams({ labelSelector })).selects(labelled(undefined));
  expect([selects("app"), selects("!app"), selects("app!=web")]).toEqual([false, true, true]);
});

test.each(["=web", "app in web", "app in (web", "a b", "app,,web", "app=a b", "app!"])(
  "rejects labelSelector %j with 400",
  (selector) => {
    expect(() => parseLabelSelector(selector)).toThrow(expect.objectContaining({ code: 400 }));
  },
);

const POD: KubeObject = {
  ...{ kind: "Pod", apiVersion: "v1" },
  metadata: { name: "p", namespace: "default" },
  spec: { nodeName: "n1", hostNetwork: true },
  status: { phase: "Running" },
};

test.each([
  ["spec.nodeName=n1", true],
  ["spec.nodeName==n2", false],
  ["spec.nodeName!=n2", true],
  ["spec.nodeName=", false],
  ["status.podIP=", true],
  ["spec.hostNetwork=true", true],
  ["status.phase!=Failed,status.phase!=Succeeded", true],
  ["metadata.name=p,metadata.namespace=default", true],
  ["metadata.namespace!=default", false],
])("fieldSelector %j of a Pod: %j", (fieldSelector, expected) => {
  expect(parseScope(PODS, undefined, new URLSearchParams({ fieldSelector })).selects(POD)).toBe(expected);
});

test.each([
  [PODS, "spec.priority=1", "field label not supported: spec.priority"],
  [NODES, "spec.podCIDR=10.0.0.0/8", "field label not supported: spec.podCIDR"],
  [
    ENDPOINT_SLICES,
    "addressType=IPv4",
    '"addressType" is not a known field selector: only "metadata.name", "metadata.namespace"',
  ],
  [PODS, "spec.nodeName", `invalid field selector: "spec.nodeName"; can't understand "spec.nodeName"`],
])("%o: rejects fieldSelector %j with 400", (kind, fieldSelector, message) => {
  const read = () => parseScope(kind, undefined, new URLSearchParams({ fieldSelector }));
  expect(read).toThrow(expect.objectContaining({ code: 400, message }));
});
