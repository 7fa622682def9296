/** A store's selections, and a resource that the server does not know. */
import { describe, expect, test } from "vitest";
import { customKind } from "../../test/apiserver/kinds.ts";
import type { JsonObject } from "../../test/apiserver/resource.ts";
import { pause, pods, service, services, slices, specOf, storeBed, until } from "../../test/apiserver/store-bed.ts";
import type { ResourceParser } from "./parser.ts";

const { startServer, connect, follow } = storeBed();

describe("a selection", () => {
  test("of fields contains the pods of one node from the moment they are bound to it", async () => {
    const server = await startServer();
    const stored = server.cluster.of("pods");
    const pod = (name: string, spec: JsonObject) => ({ metadata: { name, namespace: "default" }, spec });
    stored.create(pod("here", { nodeName: "n1" }));
    stored.create(pod("there", { nodeName: "n2" }));
    stored.create(pod("pending", {}));
    const { store, watching } = follow(connect(server), pods, { selection: { fieldSelector: "spec.nodeName=n1" } });
    await watching();
    expect(store.list().map(({ key }) => key)).toEqual(["default/here"]);
    const status = { podIP: "10.244.1.7" };
    stored.update("default/pending", (object) => ({ ...object, spec: { nodeName: "n1" }, status }));
    stored.update("default/there", (object) => ({ ...object, status }));
    await until(() => store.size === 2);
    expect(store.get("default/pending")?.value).toBe("10.244.1.7");
    stored.delete("default/here");
    await until(() => store.size === 1);
    for (const { query } of server.requests) expect(query.get("fieldSelector")).toBe("spec.nodeName=n1");
  });

  test("of labels drops an object that gets the excluded label, and adds it again without the label", async () => {
    const server = await startServer();
    const stored = server.cluster.of("services");
    const headless = { labels: { "service.kubernetes.io/headless": "" } };
    stored.create(service("web", "10.96.0.1"));
    stored.create(service("headless", "None", headless));
    const labelSelector = "!service.kubernetes.io/headless,!service.kubernetes.io/service-proxy-name";
    const { store, watching, tells } = follow(connect(server), services, { selection: { labelSelector } });
    await watching();
    expect(await tells(1)).toEqual(['default/web undefined>"10.96.0.1"']);
    const relabel = (labels: JsonObject) =>
      stored.update("default/web", (object) => ({ ...object, metadata: { ...object.metadata, labels } }));
    relabel({ "service.kubernetes.io/service-proxy-name": "other" });
    await until(() => store.size === 0);
    relabel({ team: "a" });
    await until(() => store.size === 1);
  });

  test("of a namespace requests only that namespace", async () => {
    const server = await startServer();
    server.cluster.of("services").create(service("web", "10.96.0.1"));
    server.cluster.of("services").create({ ...service("dns", "10.96.0.10", { namespace: "kube-system" }) });
    const { store, watching } = follow(connect(server), services, { selection: { namespace: "kube-system" } });
    await watching();
    expect(store.list().map(({ key }) => key)).toEqual(["kube-system/dns"]);
    expect(new Set(server.requests.map(({ path }) => path))).toEqual(
      new Set(["/api/v1/namespaces/kube-system/services"]),
    );
  });
});

describe("a resource that the server does not know", () => {
  const KIND = customKind({
    ...{ group: "policy.networking.k8s.io", version: "v1alpha2" },
    ...{ plural: "clusternetworkpolicies", kind: "ClusterNetworkPolicy", isNamespaced: false },
  });
  const parser: ResourceParser<unknown> = { resource: KIND, parse: (object) => specOf(object).tier };

  test("is absent, which is reported once and counts as synced, and is found after its CRD is installed", async () => {
    const server = await startServer();
    const { store, notices, failures, watching } = follow(connect(server), parser, { absentRetryMs: 40 });
    await until(() => store.status.phase === "absent");
    expect(store.status).toMatchObject({ hasSynced: true, reason: expect.stringMatching(/: 404 /) });
    await until(() => server.requests.length > 5);
    expect(failures).toEqual([]);
    expect(notices.map(({ status, changes }) => [status.phase, changes])).toEqual([["absent", []]]);
    server.cluster.define(KIND).create({ metadata: { name: "deny" }, spec: { tier: "Admin" } });
    await watching();
    expect(store.get("deny")?.value).toBe("Admin");
    server.cluster.withdraw(KIND.plural);
    server.endWatches();
    await until(() => store.status.phase === "absent");
    expect(store.size).toBe(0);
    await until(() => notices.at(-1)?.status.phase === "absent");
  });

  test("is requested again after minutes, not seconds", async () => {
    const server = await startServer();
    const { store } = follow(connect(server), parser);
    await until(() => store.status.phase === "absent");
    await pause(300);
    expect(server.requests).toHaveLength(1);
    expect(store.status.retryMs).toBeGreaterThanOrEqual(150_000);
    expect(store.status.retryMs).toBeLessThanOrEqual(300_000);
  });

  test("is a failure if it is built in", async () => {
    const server = await startServer();
    server.cluster.withdraw("services");
    const { store, failures } = follow(connect(server), services);
    await until(() => failures.length > 2);
    expect([store.status.phase, store.hasSynced]).toEqual(["stale", false]);
  });

  test("is not reported as absent if the right to list it is missing", async () => {
    const server = await startServer();
    server.forbid("list endpointslices");
    const { store, failures } = follow(connect(server), slices);
    await until(() => failures.length > 0);
    expect(store.status.phase).toBe("stale");
    expect(store.status.reason).toMatch(
      /list endpointslices at .*: 403 endpointslices\.discovery\.k8s\.io is forbidden: .*; the account needs get, list and watch on endpointslices\.discovery\.k8s\.io$/,
    );
  });
});
