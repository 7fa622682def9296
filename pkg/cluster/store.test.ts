/** Stores against the stand-in API server, over real sockets. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import {
  customKind,
  ENDPOINT_SLICES,
  type Kind,
  NAMESPACES,
  NETWORK_POLICIES,
  PODS,
  SERVICE_CIDRS,
  SERVICES,
} from "../../test/apiserver/kinds.ts";
import type { JsonObject, ObjectInput } from "../../test/apiserver/resource.ts";
import { type ApiServer, type ApiServerOptions, startApiServer } from "../../test/apiserver/server.ts";
import type { Connection } from "./connection.ts";
import { connectKubernetes } from "./kubeconfig.ts";
import { ManualClock } from "./manual-clock.ts";
import type { ResourceParser } from "./parser.ts";
import type { KubeObject } from "./resource.ts";
import { Store, type StoreNotice, type StoreOptions } from "./store.ts";

/** Waits that would be seconds in a cluster. */
const QUICK: Partial<StoreOptions> = { backoff: { initialMs: 20, maxMs: 200 } };

let folder: string;
const cleanups: (() => void | Promise<void>)[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "weft-store-"));
  cleanups.push(() => rmSync(folder, { recursive: true }));
});

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function startServer(options: ApiServerOptions = {}): Promise<ApiServer> {
  const server = await startApiServer(options);
  cleanups.push(() => server.close());
  return server;
}

function connect(server: ApiServer): Connection {
  const path = join(folder, "kubeconfig");
  writeFileSync(path, server.kubeconfig());
  const connection = connectKubernetes(path);
  cleanups.push(() => connection.close());
  return connection;
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await pause(5);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** A started store, and what it told. */
function follow<T>(connection: Connection, parser: ResourceParser<T>, options: Partial<StoreOptions> = {}) {
  const failures: { message: string; retryMs: number }[] = [];
  const onFailure = (error: unknown, retryMs: number) => failures.push({ message: (error as Error).message, retryMs });
  const store = new Store(connection, parser, { ...QUICK, onFailure, ...options });
  const notices: StoreNotice<T>[] = [];
  store.subscribe((notice) => notices.push(notice));
  store.start();
  cleanups.push(() => store.stop());
  const watching = () => until(() => store.status.phase === "watching");
  /** All changes told so far, as "key before>after", and forgets them. */
  const told = () =>
    notices
      .splice(0)
      .flatMap(({ changes }) => changes)
      .map(({ key, before, after }) => `${key} ${JSON.stringify(before?.value)}>${JSON.stringify(after?.value)}`);
  return { store, notices, failures, watching, told };
}

/** Of each resource a little, as a parser would keep it. */
const text = (value: unknown) => (typeof value === "string" ? value : "");
const specOf = ({ spec }: KubeObject) => (spec ?? {}) as JsonObject;
const services: ResourceParser<string> = { resource: SERVICES, parse: (object) => text(specOf(object).clusterIP) };
const slices: ResourceParser<{ service: string; addresses: readonly string[] }> = {
  resource: ENDPOINT_SLICES,
  parse: ({ metadata, endpoints }) => {
    const service = metadata.labels?.["kubernetes.io/service-name"];
    if (service === undefined) return undefined;
    const list = (Array.isArray(endpoints) ? endpoints : []) as { addresses: string[] }[];
    return { service, addresses: list.flatMap(({ addresses }) => addresses) };
  },
};
const pods: ResourceParser<string> = {
  resource: PODS,
  parse: ({ status }) => text((status as JsonObject | undefined)?.podIP),
};
const namespaces: ResourceParser<readonly string[]> = {
  resource: NAMESPACES,
  form: "metadata",
  parse: (object) => Object.keys({ ...object, ...object.metadata.labels }),
};
const policies: ResourceParser<unknown> = { resource: NETWORK_POLICIES, parse: (object) => specOf(object).policyTypes };
const serviceCidrs: ResourceParser<unknown> = { resource: SERVICE_CIDRS, parse: (object) => specOf(object).cidrs };

function service(name: string, clusterIP: string, more: JsonObject = {}): ObjectInput {
  return { metadata: { name, namespace: "default", ...more }, spec: { clusterIP } };
}

function slice(name: string, of: string, ...addresses: string[]): ObjectInput {
  const labels = { "kubernetes.io/service-name": of };
  return {
    metadata: { name, namespace: "default", labels },
    addressType: "IPv4",
    endpoints: addresses.map((address) => ({ addresses: [address] })),
  };
}

function lists(server: ApiServer, { plural }: Pick<Kind, "plural">) {
  return server.requests.filter(({ watch, path }) => path.endsWith(`/${plural}`) && !watch);
}

function watches(server: ApiServer, { plural }: Pick<Kind, "plural">) {
  return server.requests.filter(({ watch, path }) => path.endsWith(`/${plural}`) && watch);
}

describe("Store", () => {
  test("holds what the parser keeps, by key, and tells of each change with the states before and after", async () => {
    const server = await startServer();
    const stored = server.cluster.of("services");
    stored.create(service("web", "10.96.0.1"));
    const { store, watching, told } = follow(connect(server), services);
    expect(store.status).toMatchObject({ phase: "listing", hasSynced: false });
    await watching();
    await pause(5);
    const { uid } = stored.get("default/web").metadata;
    const web = { key: "default/web", namespace: "default", name: "web", uid, value: "10.96.0.1" };
    expect([store.get("default/web"), store.size, store.hasSynced]).toEqual([web, 1, true]);
    expect(told()).toEqual(['default/web undefined>"10.96.0.1"']);
    stored.create(service("dns", "10.96.0.10"));
    await until(() => store.size === 2);
    stored.update("default/dns", (object) => ({ ...object, spec: { clusterIP: "None" } }));
    await until(() => store.get("default/dns")?.value === "None");
    stored.delete("default/web");
    await until(() => store.size === 1);
    await pause(5);
    expect(told()).toEqual([
      'default/dns undefined>"10.96.0.10"',
      'default/dns "10.96.0.10">"None"',
      'default/web "10.96.0.1">undefined',
    ]);
  });

  test("an object whose parsed value is the same is no change; one that the parser drops is not held", async () => {
    const server = await startServer();
    const stored = server.cluster.of("endpointslices");
    stored.create(slice("web-1", "web", "10.244.0.1"));
    const { store, watching, told } = follow(connect(server), slices);
    await watching();
    await pause(5);
    told();
    for (const note of ["1", "2"])
      stored.update("default/web-1", (object) => ({
        ...object,
        metadata: { ...object.metadata, annotations: { note } },
      }));
    stored.create({ metadata: { name: "orphan", namespace: "default" }, addressType: "IPv4" });
    stored.create(slice("web-2", "web"));
    await until(() => store.size === 2);
    stored.update("default/web-2", (object) => ({ ...object, metadata: { ...object.metadata, labels: {} } }));
    await until(() => store.size === 1);
    await pause(5);
    expect(told()).toEqual([
      'default/web-2 undefined>{"service":"web","addresses":[]}',
      'default/web-2 {"service":"web","addresses":[]}>undefined',
    ]);
  });

  test("a parser may say itself which values are the same", async () => {
    const server = await startServer();
    const stored = server.cluster.of("services");
    stored.create(service("web", "10.96.0.1"));
    const isSame = (a: string, b: string) => a.slice(0, 5) === b.slice(0, 5);
    const { store, watching } = follow(connect(server), { ...services, isSame });
    await watching();
    stored.update("default/web", (object) => ({ ...object, spec: { clusterIP: "10.96.0.2" } }));
    stored.create(service("late", "10.97.0.1"));
    await until(() => store.size === 2);
    expect(store.get("default/web")?.value).toBe("10.96.0.1");
  });

  test("joins a burst of changes into one notice", async () => {
    const server = await startServer();
    const stored = server.cluster.of("services");
    const clock = new ManualClock();
    const { store, notices, watching } = follow(connect(server), services, { clock, coalesceMs: 100 });
    await watching();
    clock.advance(100);
    expect(notices.splice(0)).toHaveLength(1);
    for (let n = 0; n < 50; n++) stored.create(service(`s${n}`, `10.96.1.${n}`));
    await until(() => store.size === 50);
    clock.advance(99);
    for (let n = 0; n < 25; n++) stored.delete(`default/s${n}`);
    await until(() => store.size === 25);
    expect(notices).toEqual([]);
    clock.advance(1);
    expect(notices.map(({ changes }) => changes.length)).toEqual([25]);
  });

  test("a new list after 410 tells exactly what differs, another object under a name too", async () => {
    const server = await startServer();
    const stored = server.cluster.of("services");
    const names = ["kept", "gone", "changed", "anew"];
    for (const [n, name] of names.entries()) stored.create(service(name, `10.96.0.${n + 1}`));
    const { store, notices, watching, told } = follow(connect(server), services, { coalesceMs: 20 });
    await watching();
    await pause(50);
    told();
    const before = store.get("default/anew");
    const { port, cluster } = server;
    await server.close();
    await until(() => store.status.phase === "stale");
    stored.delete("default/gone");
    stored.delete("default/anew");
    stored.create(service("anew", "10.96.0.4"));
    stored.create(service("new", "10.96.0.5"));
    stored.update("default/changed", (object) => ({ ...object, spec: { clusterIP: "10.96.0.33" } }));
    stored.compact();
    expect(store.size).toBe(4);
    const again = await startServer({ port, cluster });
    await watching();
    await pause(50);
    expect(lists(again, SERVICES)).toHaveLength(1);
    const changed = notices.flatMap(({ changes }) => changes);
    expect(changed.find(({ key }) => key === "default/anew")).toEqual({
      key: "default/anew",
      before,
      after: { ...before, uid: stored.get("default/anew").metadata.uid },
    });
    expect(told().sort()).toEqual([
      'default/anew "10.96.0.4">"10.96.0.4"',
      'default/changed "10.96.0.3">"10.96.0.33"',
      'default/gone "10.96.0.2">undefined',
      'default/new undefined>"10.96.0.5"',
    ]);
  });

  test("reads 1,200 objects in pages of one snapshot, and watches from its version", async () => {
    const server = await startServer({ historyLimit: 5000 });
    for (let n = 0; n < 1200; n++) server.cluster.of("endpointslices").create(slice(`s${n}`, `web-${n % 400}`));
    const { store, watching } = follow(connect(server), slices);
    const byService = store.addIndex(({ namespace, value }) => `${namespace}/${value.service}`);
    await watching();
    expect([store.size, byService.size]).toEqual([1200, 400]);
    expect(
      byService
        .get("default/web-7")
        .map(({ name }) => name)
        .sort(),
    ).toEqual(["s407", "s7", "s807"]);
    expect(lists(server, ENDPOINT_SLICES).map(({ query }) => query.get("limit"))).toEqual(["500", "500", "500"]);
    const [watch] = watches(server, ENDPOINT_SLICES);
    expect(watch?.query.get("resourceVersion")).toBe(String(server.store.version));
  });

  test("bookmarks carry the version forward: changes of other kinds make no later watch too old", async () => {
    const server = await startServer({ bookmarkMs: 20 });
    const { watching } = follow(connect(server), services);
    await watching();
    for (let n = 0; n < 5; n++) server.createNode({ metadata: { name: `n${n}` } });
    await pause(100);
    const { version } = server.store;
    server.cluster.of("services").compact();
    server.endWatches();
    await until(() => watches(server, SERVICES).length === 2);
    expect(watches(server, SERVICES)[1]?.query.get("resourceVersion")).toBe(String(version));
    await pause(50);
    expect(lists(server, SERVICES)).toHaveLength(1);
  });

  test("finds out that a connection is half open by its silence, keeps what it has, and lists again", async () => {
    const server = await startServer({ bookmarkMs: 30 });
    server.cluster.of("services").create(service("web", "10.96.0.1"));
    const { store, failures, notices, watching } = follow(connect(server), services, { silenceMs: 150 });
    await watching();
    await pause(300);
    expect(failures).toEqual([]);
    server.stallWatches();
    server.cluster.of("services").create(service("late", "10.96.0.2"));
    const stale = () => notices.find(({ status }) => status.phase === "stale");
    await until(() => stale() !== undefined);
    const { reason, silentMs = 0, hasSynced } = stale()?.status ?? {};
    expect(reason).toMatch(/^watch services at .*: nothing heard for 0 seconds; the connection seems to be dead/);
    expect([silentMs > 140, hasSynced, stale()?.changes]).toEqual([true, true, []]);
    await until(() => store.size === 2);
    expect(lists(server, SERVICES)).toHaveLength(2);
  });

  test("leaves the server alone for as long as it asks, and says so in its status", async () => {
    const server = await startServer();
    server.misbehave({ kind: "refuse", status: 429, retryAfterSeconds: 1, count: 1 });
    const { store, notices, failures, watching } = follow(connect(server), services);
    await until(() => store.status.phase === "stale");
    expect(store.status).toMatchObject({ retryMs: 1000, hasSynced: false });
    expect(store.status.reason).toMatch(/^list services at .*: 429 /);
    await watching();
    expect(failures).toEqual([{ message: expect.stringMatching(/429/), retryMs: 1000 }]);
    await pause(5);
    expect([...new Set(notices.map(({ status }) => status.phase))]).toEqual(["stale", "watching"]);
    expect(notices.at(-1)?.status.hasSynced).toBe(true);
  });

  test("backs off while the server is away, and goes on without a list when it is back", async () => {
    const server = await startServer();
    const stored = server.cluster.of("services");
    stored.create(service("web", "10.96.0.1"));
    const { store, failures, watching } = follow(connect(server), services);
    await watching();
    const { port, cluster } = server;
    await server.close();
    await until(() => failures.length === 4);
    const waits = failures.map(({ retryMs }) => retryMs);
    expect(waits.at(-1)).toBeGreaterThan(waits[0] as number);
    expect(failures.at(-1)?.message).toMatch(/ECONNREFUSED.*check that the API server runs there/);
    expect([store.size, store.status.phase]).toEqual([1, "stale"]);
    stored.create(service("late", "10.96.0.2"));
    const again = await startServer({ port, cluster });
    await until(() => store.size === 2);
    expect(lists(again, SERVICES)).toEqual([]);
  });

  test("asks for metadata alone where the parser reads no more", async () => {
    const server = await startServer();
    const { store, watching } = follow(connect(server), namespaces);
    await watching();
    server.cluster.of("namespaces").create({ metadata: { name: "late", labels: { team: "a" } } });
    await until(() => store.get("late") !== undefined);
    const fields = ["kind", "apiVersion", "metadata"];
    expect(store.get("default")?.value).toEqual([...fields, "kubernetes.io/metadata.name"]);
    expect(store.get("late")?.value).toEqual([...fields, "team", "kubernetes.io/metadata.name"]);
    expect(server.requests.map(({ headers }) => headers.accept)).toEqual([
      "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
      "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
    ]);
  });

  test("a listener that throws is called again with the same changes, and the others are called all the same", async () => {
    const server = await startServer();
    server.cluster.of("services").create(service("web", "10.96.0.1"));
    const { store, failures, watching, told } = follow(connect(server), services);
    const seen: string[][] = [];
    store.subscribe(({ changes }) => {
      seen.push(changes.map(({ key }) => key));
      if (seen.length < 3) throw new Error("no room");
    });
    await watching();
    await until(() => seen.length === 3);
    expect(seen[2]).toEqual(["default/web"]);
    expect(told()).toHaveLength(1);
    expect(failures.map(({ message }) => message)).toEqual(["no room", "no room"]);
  });

  test("what the parser cannot read costs no other object, and keeps its last value", async () => {
    const server = await startServer();
    const stored = server.cluster.of("services");
    stored.create(service("bad", "None"));
    stored.create(service("web", "10.96.0.1"));
    const parse = (object: KubeObject) => {
      if (specOf(object).clusterIP === "None") throw new Error("not thought of");
      return services.parse(object);
    };
    const unreadable: string[] = [];
    const { store, watching } = follow(
      connect(server),
      { ...services, parse },
      { onUnreadable: (key, error) => unreadable.push(`${key}: ${(error as Error).message}`) },
    );
    await watching();
    stored.update("default/web", (object) => ({ ...object, spec: { clusterIP: "None" } }));
    stored.create(service("late", "10.96.0.3"));
    await until(() => store.get("default/late") !== undefined);
    expect(store.list().map(({ name, value }) => [name, value])).toEqual([
      ["web", "10.96.0.1"],
      ["late", "10.96.0.3"],
    ]);
    expect(unreadable).toEqual(["default/bad: not thought of", "default/web: not thought of"]);
  });

  test("says nothing more once it is stopped, and leaves no watch behind", async () => {
    const server = await startServer();
    const { store, notices, watching } = follow(connect(server), services);
    await watching();
    await store.stop();
    const before = notices.length;
    server.cluster.of("services").create(service("web", "10.96.0.1"));
    await until(() => server.watches() === 0);
    await pause(20);
    expect([notices.length, store.size]).toEqual([before, 0]);
  });
});

describe("a selection", () => {
  test("of fields: the pods of one node, from the moment they are bound to it", async () => {
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

  test("of labels: an object that comes to have the label leaves, and returns without it", async () => {
    const server = await startServer();
    const stored = server.cluster.of("services");
    const headless = { labels: { "service.kubernetes.io/headless": "" } };
    stored.create(service("web", "10.96.0.1"));
    stored.create(service("headless", "None", headless));
    const labelSelector = "!service.kubernetes.io/headless,!service.kubernetes.io/service-proxy-name";
    const { store, watching, told } = follow(connect(server), services, { selection: { labelSelector } });
    await watching();
    await pause(5);
    expect(told()).toEqual(['default/web undefined>"10.96.0.1"']);
    const relabel = (labels: JsonObject) =>
      stored.update("default/web", (object) => ({ ...object, metadata: { ...object.metadata, labels } }));
    relabel({ "service.kubernetes.io/service-proxy-name": "other" });
    await until(() => store.size === 0);
    relabel({ team: "a" });
    await until(() => store.size === 1);
  });

  test("of a namespace asks for that namespace alone", async () => {
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

  test("is absent, which is said once and counts as synced, and is found when its CRD is installed", async () => {
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
    await pause(5);
    expect(notices.at(-1)?.status.phase).toBe("absent");
  });

  test("is asked for again after minutes, not seconds", async () => {
    const server = await startServer();
    const { store } = follow(connect(server), parser);
    await until(() => store.status.phase === "absent");
    await pause(300);
    expect(server.requests).toHaveLength(1);
    expect(store.status.retryMs).toBeGreaterThanOrEqual(150_000);
    expect(store.status.retryMs).toBeLessThanOrEqual(300_000);
  });

  test("is a failure where it is part of every server", async () => {
    const server = await startServer();
    server.cluster.withdraw("services");
    const { store, failures } = follow(connect(server), services);
    await until(() => failures.length > 2);
    expect([store.status.phase, store.hasSynced]).toEqual(["stale", false]);
  });

  test("a right that is missing is no absence, and is named", async () => {
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

describe("several stores over one connection", () => {
  const PARSERS: readonly ResourceParser<unknown>[] = [
    ...[services, slices, pods],
    ...[namespaces, policies, serviceCidrs],
  ] as readonly ResourceParser<unknown>[];

  function fill({ cluster }: ApiServer): void {
    for (let n = 0; n < 600; n++) cluster.of("services").create(service(`web-${n}`, `10.96.${n >> 8}.${n & 255}`));
    cluster.of("endpointslices").create(slice("web-1", "web", "10.244.0.1"));
    cluster.of("pods").create({ metadata: { name: "p", namespace: "default" }, status: { podIP: "10.244.0.1" } });
    cluster.of("networkpolicies").create({ metadata: { name: "deny", namespace: "default" }, spec: { egress: [] } });
    cluster.of("servicecidrs").create({ metadata: { name: "kubernetes" }, spec: { cidrs: ["10.96.0.0/16"] } });
  }

  test("six resources need one TCP connection for each watch, and no more for their lists", async () => {
    const server = await startServer();
    fill(server);
    const connection = connect(server);
    const followed = PARSERS.map((parser) => follow(connection, parser));
    for (const { watching } of followed) await watching();
    expect(followed.map(({ store }) => store.size)).toEqual([600, 1, 1, 4, 1, 1]);
    expect(followed[4]?.store.get("default/deny")?.value).toEqual(["Ingress", "Egress"]);
    expect(followed[5]?.store.get("kubernetes")?.value).toEqual(["10.96.0.0/16"]);
    expect(server.requests).toHaveLength(2 * PARSERS.length + 1);
    expect([server.watches(), server.connections(), server.accepted()]).toEqual([6, 6, 6]);
  });

  test("all go on when the server is back or the host's address has changed, by new connections", async () => {
    const server = await startServer();
    fill(server);
    const connection = connect(server);
    const followed = PARSERS.map((parser) => follow(connection, parser));
    for (const { watching } of followed) await watching();
    connection.reconnect();
    for (const { failures } of followed) await until(() => failures.length > 0);
    for (const { watching } of followed) await watching();
    expect([server.connections(), server.accepted()]).toEqual([6, 12]);
    expect(followed.map(({ store }) => store.size)).toEqual([600, 1, 1, 4, 1, 1]);
  });

  test("one that fails leaves the others watching", async () => {
    const server = await startServer();
    fill(server);
    server.forbid("list networkpolicies");
    const connection = connect(server);
    const followed = PARSERS.map((parser) => follow(connection, parser));
    await until(() => (followed[4]?.failures.length ?? 0) > 3);
    const phases = followed.map(({ store }) => store.status.phase);
    expect(phases).toEqual(["watching", "watching", "watching", "watching", "stale", "watching"]);
  });

  test("take a rotated token at the first refusal, without a failure of any", async () => {
    const server = await startServer({ token: "first" });
    const tokenFile = join(folder, "token");
    writeFileSync(tokenFile, "first");
    const user = { "auth-provider": { name: "tokenFile", config: { tokenFile } } };
    const path = join(folder, "rotated");
    const config = { ...(JSON.parse(server.kubeconfig()) as object), users: [{ name: "weftd", user }] };
    writeFileSync(path, JSON.stringify(config));
    const connection = connectKubernetes(path);
    cleanups.push(() => connection.close());
    const followed = [follow(connection, services), follow(connection, slices)];
    for (const { watching } of followed) await watching();
    // A watch that ends sooner and brought nothing counts as failed.
    await pause(1100);
    server.setToken("second");
    writeFileSync(tokenFile, "second");
    server.endWatches();
    await until(() => watches(server, SERVICES).length > 1 && watches(server, ENDPOINT_SLICES).length > 1);
    await until(() => server.watches() === 2);
    server.cluster.of("services").create(service("web", "10.96.0.1"));
    await until(() => followed[0]?.store.size === 1);
    expect(followed.map(({ failures }) => failures)).toEqual([[], []]);
    const tokens = server.requests.filter(({ watch }) => watch).map(({ headers }) => headers.authorization);
    expect(tokens.slice(-1)).toEqual(["Bearer second"]);
  });
});
