/** conf/base/admission.yaml as an API server evaluates it: on the object as it would be stored, after the patch. */
import { describe, expect, test } from "vitest";
import { formatVtep } from "../../pkg/backend/vxlan/announcement.ts";
import { ANNOTATION, formatAnnotations } from "../../pkg/cluster/node/annotations.ts";
import { parseAddress } from "../../pkg/ip/address.ts";
import { type Admission, type AdmissionRequest, refusal } from "../apiserver/admission.ts";
import { mergePatch } from "../apiserver/mergepatch.ts";
import type { JsonObject } from "../apiserver/resource.ts";
import { strategicMergePatch } from "../apiserver/strategicmerge.ts";
import { find } from "./objects.ts";
import { kustomizeObjects } from "./tools.ts";

const BASE = kustomizeObjects("base");
const NODES = find(BASE, "ValidatingAdmissionPolicy", "weftd-nodes");
const EVENTS = find(BASE, "ValidatingAdmissionPolicy", "weftd-events");

const NODE: JsonObject = {
  apiVersion: "v1",
  kind: "Node",
  metadata: {
    ...{ name: "n1", uid: "5b1c", resourceVersion: "100", creationTimestamp: "2026-11-21T00:00:00Z" },
    labels: { "kubernetes.io/hostname": "n1", "kubernetes.io/os": "linux" },
    annotations: {
      "volumes.kubernetes.io/controller-managed-attach-detach": "true",
      [ANNOTATION.publicIp]: "192.0.2.9",
    },
    managedFields: [{ manager: "kubelet", operation: "Update", time: "2026-11-21T00:00:00Z" }],
  },
  spec: { podCIDR: "10.244.1.0/24", podCIDRs: ["10.244.1.0/24"], taints: [{ key: "t", effect: "NoSchedule" }] },
  status: {
    capacity: { cpu: "4", memory: "8Gi" },
    addresses: [{ type: "InternalIP", address: "192.0.2.1" }],
    conditions: [
      { type: "Ready", status: "True", reason: "KubeletReady", lastHeartbeatTime: "2026-11-21T00:00:00Z" },
      { type: "NetworkUnavailable", status: "True", reason: "NoRouteCreated" },
    ],
    nodeInfo: { kernelVersion: "6.1.0", operatingSystem: "linux" },
    images: [{ names: ["a", "b"], sizeBytes: 1 }],
  },
};

function accountOn(node: string | undefined): AdmissionRequest["userInfo"] {
  const extra = node === undefined ? {} : { extra: { "authentication.kubernetes.io/node-name": [node] } };
  return { username: "system:serviceaccount:weft:weftd", ...extra };
}

const update = (userInfo: AdmissionRequest["userInfo"], object: unknown, oldObject: unknown = NODE): Admission => ({
  ...{ request: { operation: "UPDATE", userInfo }, object, oldObject },
});
const merged = (patch: object) => mergePatch(NODE, patch as JsonObject);
const annotated = (annotations: object) => merged({ metadata: { annotations } });
const VTEP = formatVtep({ vni: 1, mac: "0e:00:00:00:00:01" });
const judge = (object: unknown) => refusal(NODES, update(accountOn("n1"), object));

describe("a node's status", () => {
  test.each([
    [
      "all its annotations",
      annotated(
        formatAnnotations({
          backend: {
            ...{ type: "vxlan", port: 8472 },
            data: { 4: VTEP, 6: VTEP },
          },
          ...{ publicIp: parseAddress("192.0.2.1"), publicIpv6: parseAddress("2001:db8::1") },
          networkPolicy: "audit",
        }),
      ),
    ],
    ["the removal of its annotations", annotated({ [ANNOTATION.publicIp]: null })],
    [
      "its condition, by a strategic merge patch",
      strategicMergePatch(NODE, {
        status: { conditions: [{ type: "NetworkUnavailable", status: "False", reason: "WeftIsUp", message: "m" }] },
      }),
    ],
    [
      "its condition, by server-side apply, which records its manager",
      merged({
        metadata: { managedFields: [{ manager: "weftd", operation: "Apply" }] },
        status: {
          conditions: [
            (NODE.status as { conditions: JsonObject[] }).conditions[0] as JsonObject,
            { type: "NetworkUnavailable", status: "False" },
          ],
        },
      }),
    ],
    ["nothing", NODE],
  ])("may be given %s by weftd of that node", (_what, object) => {
    expect(judge(object)).toBeUndefined();
  });

  test("may be given its first annotations and conditions", () => {
    const bare = { ...NODE, metadata: { name: "n1" }, status: {} };
    const first = {
      ...{ ...bare, metadata: { name: "n1", annotations: { [ANNOTATION.subnetManager]: "true" } } },
      status: { conditions: [{ type: "NetworkUnavailable", status: "False" }] },
    };
    expect(refusal(NODES, update(accountOn("n1"), first, bare))).toBeUndefined();
  });

  test.each([
    [
      "a foreign annotation",
      annotated({ "example.com/x": "1" }),
      /weftd may change only these annotations of a Node: .*weft\/vxlan-port/,
    ],
    [
      "the removal of another program's annotation",
      annotated({ "volumes.kubernetes.io/controller-managed-attach-detach": null }),
      /annotations/,
    ],
    [
      "an annotation that only an administrator sets",
      annotated({ [ANNOTATION.publicIpOverwrite]: "192.0.2.66" }),
      /annotations/,
    ],
    ["a label", merged({ metadata: { labels: { "node-role.kubernetes.io/control-plane": "" } } }), /metadata/],
    ["a label's removal", merged({ metadata: { labels: null } }), /metadata/],
    ["a finalizer", merged({ metadata: { finalizers: ["example.com/x"] } }), /metadata/],
    ["an owner", merged({ metadata: { ownerReferences: [{ kind: "Pod", name: "p" }] } }), /metadata/],
    ["a taint's removal", merged({ spec: { taints: null } }), /spec/],
    ["other podCIDRs", merged({ spec: { podCIDRs: ["10.0.0.0/8"] } }), /spec/],
    ["an unknown key of Nodes", merged({ other: {} }), /spec/],
    ["addresses", merged({ status: { addresses: [] } }), /status/],
    ["capacity", merged({ status: { capacity: { cpu: "400" } } }), /status/],
    ["an unknown part of the status", merged({ status: { phase: "Running" } }), /status/],
    ["the removal of the status's images", merged({ status: { images: null } }), /status/],
    [
      "another condition",
      strategicMergePatch(NODE, { status: { conditions: [{ type: "Ready", status: "False" }] } }),
      /only the condition NetworkUnavailable/,
    ],
    [
      "an additional condition",
      strategicMergePatch(NODE, { status: { conditions: [{ type: "DiskPressure", status: "True" }] } }),
      /NetworkUnavailable/,
    ],
    [
      "the removal of another condition",
      merged({ status: { conditions: [{ type: "NetworkUnavailable", status: "False" }] } }),
      /only the condition NetworkUnavailable/,
    ],
    [
      "the removal of all conditions",
      merged({ status: { conditions: null } }),
      /only the condition NetworkUnavailable/,
    ],
    ["the removal of the whole status", merged({ status: null }), /cannot be evaluated|spec/],
  ])("may not be given %s", (_what, object, reason) => {
    expect(judge(object)).toMatch(reason);
  });

  test("may be written only by its own weftd", () => {
    const harmless = annotated({ [ANNOTATION.publicIp]: "192.0.2.1" });
    expect(refusal(NODES, update(accountOn("n2"), harmless))).toBe('weftd of node "n2" may not write node "n1"');
  });

  test.each([
    ["no node", accountOn(undefined), /token of this weftd names no node/],
    ["an empty node", accountOn(""), /token of this weftd names no node/],
    [
      "no value",
      { ...accountOn("n1"), extra: { "authentication.kubernetes.io/node-name": [] } },
      /cannot be evaluated/,
    ],
  ])("may not be written with a token that names %s", (_what, userInfo, reason) => {
    expect(refusal(NODES, update(userInfo, NODE))).toMatch(reason);
  });

  test("a Node may not be created", () => {
    const request: AdmissionRequest = { operation: "CREATE", userInfo: accountOn("n1") };
    expect(refusal(NODES, { request, object: NODE, oldObject: null })).toMatch(/cannot be evaluated/);
  });

  test("other accounts are not affected", () => {
    const userInfo = { username: "system:node:n1" };
    expect(refusal(NODES, update(userInfo, merged({ metadata: { labels: null } })))).toBeUndefined();
  });
});

describe("an Event", () => {
  const event = (node: string, component = "weftd") => ({
    ...{ metadata: { name: "e", namespace: "default" }, source: { component, host: node }, count: 1 },
    involvedObject: { apiVersion: "v1", kind: "Node", name: node },
  });
  const create = (node: string, object: unknown): Admission => ({
    ...{ request: { operation: "CREATE", userInfo: accountOn(node) }, object, oldObject: null },
  });

  test("about its own node may be created and counted up", () => {
    expect(refusal(EVENTS, create("n1", event("n1")))).toBeUndefined();
    expect(refusal(EVENTS, update(accountOn("n1"), { ...event("n1"), count: 2 }, event("n1")))).toBeUndefined();
  });

  test.each([
    ["about another node", create("n2", event("n1"))],
    ["with another reporter", create("n1", event("n1", "kubelet"))],
    ["about another object", create("n1", { ...event("n1"), involvedObject: { kind: "Pod", name: "n1" } })],
    ["without a source", create("n1", { ...event("n1"), source: {} })],
    ["of another reporter, taken over", update(accountOn("n1"), event("n1"), event("n1", "kubelet"))],
    ["of another node's weftd", update(accountOn("n1"), event("n1"), event("n2"))],
  ])("%s may not", (_what, admission) => {
    expect(refusal(EVENTS, admission)).toMatch(/about that node only|not written by weftd of node|cannot be evaluated/);
  });
});

test("the policy's annotations are those that weftd writes", () => {
  const { variables } = NODES.spec as { variables: { name: string; expression: string }[] };
  const listed = variables.find(({ name }) => name === "ownAnnotations")?.expression ?? "";
  const { publicIpOverwrite, publicIpv6Overwrite, ...written } = ANNOTATION;
  expect((JSON.parse(listed) as string[]).sort()).toEqual(Object.values(written).sort());
  expect([publicIpOverwrite, publicIpv6Overwrite].filter((key) => listed.includes(`"${key}"`))).toEqual([]);
});
