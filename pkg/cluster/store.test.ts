/** One store with the stand-in API server, over real sockets. */
import { describe, expect, test } from "vitest";
import { ENDPOINT_SLICES, SERVICES } from "../../test/apiserver/kinds.ts";
import {
  lists,
  namespaces,
  pause,
  service,
  services,
  slice,
  slices,
  specOf,
  storeBed,
  until,
  watches,
} from "../../test/apiserver/store-bed.ts";
import { ManualClock } from "./manual-clock.ts";
import type { ResourceParser } from "./parser.ts";
import type { KubeObject } from "./resource.ts";

const { startServer, connect, follow } = storeBed();

describe("Store", () => {
  test("keeps parsed values by key and reports each change with the states before and after", async () => {
    const server = await startServer();
    const stored = server.cluster.of("services");
    stored.create(service("web", "10.96.0.1"));
    const { store, watching, tells } = follow(connect(server), services);
    expect(store.status).toMatchObject({ phase: "listing", hasSynced: false });
    await watching();
    const { uid } = stored.get("default/web").metadata;
    const web = { key: "default/web", namespace: "default", name: "web", uid, value: "10.96.0.1" };
    expect([store.get("default/web"), store.size, store.hasSynced]).toEqual([web, 1, true]);
    expect(await tells(1)).toEqual(['default/web undefined>"10.96.0.1"']);
    stored.create(service("dns", "10.96.0.10"));
    expect(await tells(1)).toEqual(['default/dns undefined>"10.96.0.10"']);
    stored.update("default/dns", (object) => ({ ...object, spec: { clusterIP: "None" } }));
    expect(await tells(1)).toEqual(['default/dns "10.96.0.10">"None"']);
    stored.delete("default/web");
    expect(await tells(1)).toEqual(['default/web "10.96.0.1">undefined']);
    expect(store.size).toBe(1);
  });

  test("ignores changes that do not affect the parsed value, and objects that the parser drops", async () => {
    const server = await startServer();
    const stored = server.cluster.of("endpointslices");
    stored.create(slice("web-1", "web", "10.244.0.1"));
    const { store, watching, tells } = follow(connect(server), slices);
    await watching();
    await tells(1);
    for (const note of ["1", "2"])
      stored.update("default/web-1", (object) => ({
        ...object,
        metadata: { ...object.metadata, annotations: { note } },
      }));
    stored.create({ metadata: { name: "orphan", namespace: "default" }, addressType: "IPv4" });
    stored.create(slice("web-2", "web"));
    expect(await tells(1)).toEqual(['default/web-2 undefined>{"service":"web","addresses":[]}']);
    expect(store.size).toBe(2);
    stored.update("default/web-2", (object) => ({ ...object, metadata: { ...object.metadata, labels: {} } }));
    expect(await tells(1)).toEqual(['default/web-2 {"service":"web","addresses":[]}>undefined']);
    expect(store.size).toBe(1);
  });

  test("uses the parser's isSame", async () => {
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

  test("merges a burst of changes into one notice", async () => {
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

  test("reports exactly the differences after a new list, including a recreated object", async () => {
    const server = await startServer();
    const stored = server.cluster.of("services");
    const names = ["kept", "gone", "changed", "anew"];
    for (const [n, name] of names.entries()) stored.create(service(name, `10.96.0.${n + 1}`));
    const { store, notices, watching, told, tells } = follow(connect(server), services, { coalesceMs: 20 });
    await watching();
    await tells(4);
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
    await until(() => notices.some(({ changes }) => changes.length > 0));
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

  test("advances the version by bookmarks, so changes of other kinds do not expire it", async () => {
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

  test("detects a half-open connection, keeps its objects and lists again", async () => {
    const server = await startServer({ bookmarkMs: 30 });
    server.cluster.of("services").create(service("web", "10.96.0.1"));
    const { store, failures, notices, watching } = follow(connect(server), services, { silenceMs: 1500 });
    await watching();
    await pause(2000);
    expect(failures).toEqual([]);
    server.stallWatches();
    server.cluster.of("services").create(service("late", "10.96.0.2"));
    const stale = () => notices.find(({ status }) => status.phase === "stale");
    await until(() => stale() !== undefined);
    const { reason, silentMs = 0, hasSynced } = stale()?.status ?? {};
    expect(reason).toMatch(/^watch services at .*: no data for [12] seconds; the connection is probably dead/);
    expect([silentMs > 1400, hasSynced, stale()?.changes]).toEqual([true, true, []]);
    await until(() => store.size === 2);
    expect(lists(server, SERVICES)).toHaveLength(2);
  });

  test("respects the server's Retry-After and shows it in its status", async () => {
    const server = await startServer();
    server.misbehave({ kind: "refuse", status: 429, retryAfterSeconds: 1, count: 1 });
    const { store, notices, failures, watching } = follow(connect(server), services);
    await until(() => store.status.phase === "stale");
    expect(store.status).toMatchObject({ retryMs: 1000, hasSynced: false });
    expect(store.status.reason).toMatch(/^list services at .*: 429 /);
    await watching();
    expect(failures).toEqual([{ message: expect.stringMatching(/429/), retryMs: 1000 }]);
    await until(() => notices.at(-1)?.status.phase === "watching");
    expect([...new Set(notices.map(({ status }) => status.phase))]).toEqual(["stale", "watching"]);
    expect(notices.at(-1)?.status.hasSynced).toBe(true);
  });

  test("backs off while the server is down, and continues without a list afterwards", async () => {
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
    expect(failures.at(-1)?.message).toMatch(/ECONNREFUSED.*check that the API server runs at this address/);
    expect([store.size, store.status.phase]).toEqual([1, "stale"]);
    stored.create(service("late", "10.96.0.2"));
    const again = await startServer({ port, cluster });
    await until(() => store.size === 2);
    expect(lists(again, SERVICES)).toEqual([]);
  });

  test("requests only metadata if the parser reads nothing else", async () => {
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

  test("accepts an empty list of metadata, whose items are null", async () => {
    const server = await startServer();
    const metadata: ResourceParser<string> = {
      ...{ resource: services.resource, form: "metadata" },
      parse: (object) => object.metadata.name,
    };
    const { store, failures, watching } = follow(connect(server), metadata);
    await watching();
    server.cluster.of("services").create(service("web", "10.96.0.1"));
    await until(() => store.size === 1);
    expect(failures).toEqual([]);
  });

  test("calls a listener that throws again with the same changes, and calls the others", async () => {
    const server = await startServer();
    server.cluster.of("services").create(service("web", "10.96.0.1"));
    const { store, failures, watching, told } = follow(connect(server), services);
    const seen: string[][] = [];
    store.subscribe(({ changes }) => {
      seen.push(changes.map(({ key }) => key));
      if (seen.length < 3) throw new Error("listener failed");
    });
    await watching();
    await until(() => seen.length === 3);
    expect(seen[2]).toEqual(["default/web"]);
    expect(told()).toHaveLength(1);
    expect(failures.map(({ message }) => message)).toEqual(["listener failed", "listener failed"]);
  });

  test("an object that the parser cannot read keeps its last value and affects no other", async () => {
    const server = await startServer();
    const stored = server.cluster.of("services");
    stored.create(service("bad", "None"));
    stored.create(service("web", "10.96.0.1"));
    const parse = (object: KubeObject) => {
      if (specOf(object).clusterIP === "None") throw new Error("parser failed");
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
    expect(unreadable).toEqual(["default/bad: parser failed", "default/web: parser failed"]);
  });

  test("reports nothing after it is stopped and closes its watch", async () => {
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
