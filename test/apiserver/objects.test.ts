/** Kinds other than Node through the API: paths, writing, deletion, watches with selectors, and rights. */
import { randomUUID } from "node:crypto";
import { describe, expect, test } from "vitest";
import { Cluster } from "./cluster.ts";
import { handle } from "./handler.ts";
import { customKind } from "./kinds.ts";
import { permitsOf } from "./rbac.ts";
import type { JsonObject, KubeObject } from "./resource.ts";
import { formatChange, startWatch } from "./watch.ts";

const SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
const SERVICES = "/api/v1/namespaces/default/services";

function start() {
  const cluster = new Cluster({ nowMs: Date.now, newUid: randomUUID });
  /** The answer's status and body; the text if the body is not JSON. */
  function ask(method: string, target: string, body?: JsonObject, type = "application/json") {
    const headers = { "content-type": type };
    const text = body === undefined ? "" : JSON.stringify(body);
    const outcome = handle({ cluster }, { method, target, headers, body: text });
    if (outcome.kind === "watch") throw new Error("a watch");
    const { status, body: answer } = outcome.answer;
    return {
      status,
      body: (answer.startsWith("{") ? JSON.parse(answer) : { text: answer }) as KubeObject & JsonObject,
    };
  }
  return { cluster, ask };
}

describe("paths", () => {
  test.each([
    ["GET", "/api/v1/services", 200],
    ["GET", "/api/v1/namespaces/default/services", 200],
    ["GET", "/api/v1/namespaces/absent/services", 200],
    ["GET", "/api/v1/namespaces/default", 200],
    ["GET", "/api/v1/namespaces/default/status", 200],
    ["GET", "/api/v1/namespaces/default/services/absent", 404],
    ["GET", "/api/v1/services/web", 404],
    ["GET", "/api/v1/namespaces/default/nodes", 404],
    ["GET", "/api/v1/namespaces/default/endpointslices", 404],
    ["GET", "/apis/discovery.k8s.io/v1/endpointslices", 200],
    ["GET", "/apis/networking.k8s.io/v1/servicecidrs", 200],
    ["GET", `${SLICES}/a/status`, 404],
    ["POST", "/api/v1/services", 405],
    ["DELETE", SERVICES, 405],
    ["PUT", SERVICES, 405],
  ])("%s %s is answered with %i", (method, target, status) => {
    expect(start().ask(method, target, { metadata: { name: "a" } }).status).toBe(status);
  });

  test("an unserved group is answered in plain text, an unserved kind with a Status", () => {
    const { ask } = start();
    expect(ask("GET", "/apis/networking.k8s.io/v2/networkpolicies").body).toEqual({ text: "404 page not found\n" });
    expect(ask("GET", "/apis/networking.k8s.io/v1/ingresses").body).toMatchObject({ kind: "Status", code: 404 });
  });

  test("a kind is added and removed with its CustomResourceDefinition", () => {
    const { cluster, ask } = start();
    const target = "/apis/example.org/v1/widgets";
    const names = { group: "example.org", version: "v1", plural: "widgets", kind: "Widget", isNamespaced: false };
    cluster.define(customKind(names));
    expect(ask("POST", target, { metadata: { name: "w" }, spec: { size: 1 } })).toMatchObject({
      status: 201,
      body: { kind: "Widget", apiVersion: "example.org/v1", metadata: { generation: 1 }, spec: { size: 1 } },
    });
    cluster.withdraw("widgets");
    expect(ask("GET", target).status).toBe(404);
    cluster.define(customKind(names));
    expect(ask("GET", target).body.items).toEqual([]);
  });
});

describe("writing", () => {
  test("a Service gets its defaults, an address and free node ports", () => {
    const { ask } = start();
    const spec = { type: "NodePort", ports: [{ port: 80 }, { port: 53, protocol: "UDP", nodePort: 30_000 }] };
    const made = ask("POST", SERVICES, { metadata: { generateName: "web-" }, spec });
    expect(made.body).toMatchObject({
      metadata: { name: expect.stringMatching(/^web-[a-z0-9]{5}$/), namespace: "default" },
      spec: {
        ...{ clusterIP: "10.96.0.1", clusterIPs: ["10.96.0.1"], ipFamilies: ["IPv4"], ipFamilyPolicy: "SingleStack" },
        ...{ sessionAffinity: "None", internalTrafficPolicy: "Cluster", externalTrafficPolicy: "Cluster" },
        ports: [
          { port: 80, targetPort: 80, protocol: "TCP", nodePort: 30_000 },
          { port: 53, targetPort: 53, protocol: "UDP", nodePort: 30_000 },
        ],
      },
      status: { loadBalancer: {} },
    });
    const second = ask("POST", SERVICES, { metadata: { name: "b" }, spec: { type: "NodePort", ports: [{ port: 1 }] } });
    expect(second.body.spec).toMatchObject({ clusterIP: "10.96.0.2", ports: [{ nodePort: 30_001 }] });
    const headless = ask("POST", SERVICES, { metadata: { name: "c" }, spec: { clusterIP: "None" } });
    expect(headless.body.spec).toMatchObject({ clusterIP: "None", clusterIPs: ["None"] });
    const name = ask("POST", SERVICES, {
      metadata: { name: "d" },
      spec: { type: "ExternalName", externalName: "x.y" },
    });
    expect(name.body.spec).toEqual({ type: "ExternalName", externalName: "x.y", sessionAffinity: "None" });
  });

  test.each([
    [{ metadata: { name: "a", namespace: "other" } }, 400],
    [{ kind: "Pod", metadata: { name: "a" } }, 400],
    [{ metadata: { name: "a", resourceVersion: "1" } }, 400],
    [{ metadata: { name: "a", labels: { "": "x" } } }, 422],
    [{ metadata: { name: "taken" } }, 409],
  ])("rejects the creation of %j with %i", (body, status) => {
    const { ask } = start();
    ask("POST", SERVICES, { metadata: { name: "taken" } });
    expect(ask("POST", SERVICES, body).status).toBe(status);
  });

  test("errors name the group, and a missing namespace", () => {
    const { ask } = start();
    expect(ask("GET", `${SLICES}/a`).body).toMatchObject({
      message: 'endpointslices.discovery.k8s.io "a" not found',
      details: { name: "a", group: "discovery.k8s.io", kind: "endpointslices" },
    });
    const target = "/api/v1/namespaces/absent/services";
    expect(ask("POST", target, { metadata: { name: "a" } }).body).toMatchObject({
      ...{ code: 404, message: 'namespaces "absent" not found' },
    });
  });

  test("PUT replaces the version it read, and conflicts with any other", () => {
    const { ask } = start();
    const made = ask("POST", SERVICES, {
      metadata: { name: "a", labels: { x: "1" } },
      spec: { clusterIP: "None" },
    }).body;
    const replaced = ask("PUT", `${SERVICES}/a`, { ...made, metadata: { ...made.metadata, labels: { y: "2" } } });
    expect([replaced.status, replaced.body.metadata.labels]).toEqual([200, { y: "2" }]);
    expect(ask("PUT", `${SERVICES}/a`, made).body).toMatchObject({ code: 409, reason: "Conflict" });
    expect(ask("PUT", `${SERVICES}/absent`, { metadata: { name: "absent" } }).status).toBe(404);
    expect(ask("PUT", `${SERVICES}/a`, { metadata: { name: "b" } }).status).toBe(400);
  });

  test("the status is written only through its subresource, and nothing else is", () => {
    const { ask } = start();
    const target = "/api/v1/namespaces/default/pods";
    const made = ask("POST", target, {
      metadata: { name: "p" },
      spec: { nodeName: "n1" },
      status: { phase: "Failed" },
    });
    expect(made.body.status).toEqual({ phase: "Pending" });
    const patch = { spec: { nodeName: "n2" }, status: { phase: "Running", podIPs: [{ ip: "10.244.0.1" }] } };
    const reported = ask("PATCH", `${target}/p/status`, patch, "application/merge-patch+json").body;
    expect(reported).toMatchObject({ spec: { nodeName: "n1" }, status: { phase: "Running", podIP: "10.244.0.1" } });
    const bound = ask("PATCH", `${target}/p`, { spec: { x: 1 }, status: null }, "application/merge-patch+json").body;
    expect([bound.metadata.generation, bound.status]).toEqual([2, reported.status]);
    expect(reported.metadata.generation).toBe(1);
  });

  test("a strategic merge patch merges ports by their number", () => {
    const { ask } = start();
    const ports = [
      { port: 80, name: "http" },
      { port: 443, name: "https" },
    ];
    ask("POST", SERVICES, { metadata: { name: "a" }, spec: { ports } });
    const patch = { spec: { ports: [{ port: 443, targetPort: 8443 }] } };
    const patched = ask("PATCH", `${SERVICES}/a`, patch, "application/strategic-merge-patch+json").body;
    expect((patched.spec as JsonObject).ports).toMatchObject([
      { port: 80, targetPort: 80 },
      { name: "https", targetPort: 8443 },
    ]);
  });
});

describe("deletion", () => {
  test("returns the object or a Status, depending on its kind", () => {
    const { ask } = start();
    ask("POST", SERVICES, { metadata: { name: "a" } });
    ask("POST", SLICES, { metadata: { name: "a" }, addressType: "IPv4" });
    expect(ask("DELETE", `${SERVICES}/a`).body.kind).toBe("Service");
    expect(ask("DELETE", `${SLICES}/a`).body).toMatchObject({
      ...{
        kind: "Status",
        status: "Success",
        details: { name: "a", group: "discovery.k8s.io", kind: "endpointslices" },
      },
    });
    expect(ask("DELETE", `${SLICES}/a`).status).toBe(404);
  });

  test("waits for finalizers", () => {
    const { cluster, ask } = start();
    ask("POST", SERVICES, { metadata: { name: "a", finalizers: ["example.org/lb"] } });
    const events: string[] = [];
    cluster.of("services").subscribe(({ type }) => events.push(type));
    expect(ask("DELETE", `${SERVICES}/a`).status).toBe(200);
    expect(ask("DELETE", `${SERVICES}/a`).status).toBe(200);
    expect(ask("GET", `${SERVICES}/a`).body.metadata.deletionTimestamp).toMatch(/Z$/);
    ask("PATCH", `${SERVICES}/a`, { metadata: { finalizers: null } }, "application/merge-patch+json");
    expect([ask("GET", `${SERVICES}/a`).status, events]).toEqual([404, ["MODIFIED", "DELETED"]]);
  });

  test("of a namespace deletes the objects in it", () => {
    const { cluster, ask } = start();
    ask("POST", "/api/v1/namespaces", { metadata: { name: "team" } });
    ask("POST", "/api/v1/namespaces/team/services", { metadata: { name: "a" } });
    ask("POST", SERVICES, { metadata: { name: "a" } });
    expect(ask("DELETE", "/api/v1/namespaces/team").status).toBe(200);
    expect(
      cluster
        .of("services")
        .list()
        .map(({ metadata }) => metadata.namespace),
    ).toEqual(["default"]);
    expect(ask("GET", "/api/v1/namespaces/team").status).toBe(404);
  });
});

describe("watches and lists with selectors", () => {
  test("an object that starts to match is ADDED, one that stops matching is DELETED in its old state", () => {
    const { cluster, ask } = start();
    const stored = cluster.of("services");
    const target = `/api/v1/services?watch=1&resourceVersion=${stored.version}&labelSelector=app%3Dweb`;
    const outcome = handle({ cluster }, { method: "GET", target, headers: {}, body: "" });
    if (outcome.kind !== "watch") throw new Error("no watch");
    const live: string[] = [];
    stored.subscribe((change) => live.push(...formatChange(change, outcome.query)));
    const label = (app: string, note: string) =>
      ask(
        "PATCH",
        `${SERVICES}/a`,
        { metadata: { labels: { app }, annotations: { note } } },
        "application/merge-patch+json",
      );
    ask("POST", SERVICES, { metadata: { name: "a" } });
    label("web", "1");
    label("web", "2");
    const left = label("dns", "3").body.metadata.resourceVersion;
    label("web", "4");
    ask("DELETE", `${SERVICES}/a`);
    ask("POST", SERVICES, { metadata: { name: "b", labels: { app: "dns" } } });
    ask("DELETE", `${SERVICES}/b`);
    const events = live.map((line) => JSON.parse(line) as { type: string; object: KubeObject });
    expect(events.map(({ type, object }) => [type, object.metadata.annotations?.note])).toEqual([
      ["ADDED", "1"],
      ["MODIFIED", "2"],
      ["DELETED", "2"],
      ["ADDED", "4"],
      ["DELETED", "4"],
    ]);
    expect(events[2]?.object.metadata.resourceVersion).toBe(left);
    // A watch that starts later at the same version gets the same events.
    expect(startWatch(stored, outcome.query).lines).toEqual(live);
  });

  test("pages of one namespace continue where they ended, in the order of etcd's keys", () => {
    const { ask } = start();
    for (const namespace of ["a", "a-b"]) {
      ask("POST", "/api/v1/namespaces", { metadata: { name: namespace } });
      for (const name of ["x", "y", "z"])
        ask("POST", `/api/v1/namespaces/${namespace}/services`, { metadata: { name } });
    }
    const pages = (target: string): string[][] => {
      const { items, metadata } = ask("GET", target).body as unknown as { items: KubeObject[]; metadata: JsonObject };
      const keys = items.map((item) => `${item.metadata.namespace}/${item.metadata.name}`);
      const base = target.replace(/&continue=.*/, "");
      return [keys, ...(metadata.continue ? pages(`${base}&continue=${String(metadata.continue)}`) : [])];
    };
    expect(pages("/api/v1/namespaces/a/services?limit=2")).toEqual([["a/x", "a/y"], ["a/z"]]);
    expect(pages("/api/v1/services?limit=4")).toEqual([
      ["a-b/x", "a-b/y", "a-b/z", "a/x"],
      ["a/y", "a/z"],
    ]);
  });
});

test("rights apply to their group: a right on core's pods gives none on another group's", () => {
  const account = { kind: "ServiceAccount", name: "weftd", namespace: "weft" };
  const rules = [
    { apiGroups: [""], resources: ["services"], verbs: ["list"] },
    { apiGroups: ["discovery.k8s.io"], resources: ["endpointslices"], verbs: ["list", "watch", "update"] },
    { apiGroups: ["discovery.k8s.io"], resources: ["endpointslices"], resourceNames: ["b"], verbs: ["get"] },
  ];
  const permits = permitsOf(
    [
      { kind: "ClusterRole", metadata: { name: "r" }, rules },
      {
        kind: "ClusterRoleBinding",
        metadata: { name: "b" },
        roleRef: { kind: "ClusterRole", name: "r" },
        subjects: [account],
      },
    ],
    account,
  );
  const { cluster } = start();
  const status = (target: string, method = "GET") => {
    const headers = { authorization: "Bearer x", "content-type": "application/json" };
    const outcome = handle({ cluster, permits }, { method, target, headers, body: '{"metadata":{"name":"a"}}' });
    return outcome.kind === "watch" ? "watch" : outcome.answer.status;
  };
  expect(status("/api/v1/services")).toBe(200);
  expect(status("/api/v1/services?watch=1")).toBe(403);
  expect(status("/apis/discovery.k8s.io/v1/endpointslices?watch=1")).toBe("watch");
  expect(status("/apis/networking.k8s.io/v1/networkpolicies")).toBe(403);
  const slice = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/a";
  expect([status(slice, "PUT"), status(slice, "PATCH"), status(slice)]).toEqual([404, 403, 403]);
  expect(status("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/b")).toBe(404);
  // A client without the right must not find out that the kind does not exist.
  expect(status("/apis/policy.networking.k8s.io/v1alpha2/clusternetworkpolicies")).toBe(403);
});
