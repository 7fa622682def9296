/**
 * The source with the stand-in API server, over real sockets.
 *
 * Longer than 400 lines: all cases share one stand-in server.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { type ApiServer, type ApiServerOptions, startApiServer } from "../../../test/apiserver/server.ts";
import { parseAddress } from "../../ip/address.ts";
import { type Clock, SYSTEM_CLOCK } from "../clock.ts";
import { isNotFound, KubernetesError } from "../errors.ts";
import { connectKubernetes } from "../kubeconfig.ts";
import { ManualClock } from "../manual-clock.ts";
import { ANNOTATION, formatAnnotations } from "./annotations.ts";
import { KubernetesSource, type KubernetesSourceOptions } from "./kubernetes-source.ts";
import { NodeApi } from "./node-api.ts";
import type { SourceEvent } from "./source.ts";

/** Delays that would be seconds in a cluster. */
const QUICK: Partial<KubernetesSourceOptions> = { backoff: { initialMs: 20, maxMs: 200 } };

let folder: string;
const cleanups: (() => void | Promise<void>)[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "weft-cluster-"));
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

function kubeconfigOf(text: string): string {
  const path = join(folder, "kubeconfig");
  writeFileSync(path, text);
  return path;
}

function connect(kubeconfig: string): NodeApi {
  const connection = connectKubernetes({ kubeconfig: kubeconfigOf(kubeconfig) });
  cleanups.push(() => connection.close());
  return new NodeApi(connection);
}

/** Follows a source. `has` waits for an event and counts only events after the last one waited for. */
function follow(api: NodeApi, options: Partial<KubernetesSourceOptions> = {}) {
  const events: SourceEvent[] = [];
  let seen = 0;
  const source = new KubernetesSource(api, { ...QUICK, ...options });
  source.start((event) => events.push(event));
  cleanups.push(() => source.stop());
  async function has<Type extends SourceEvent["type"]>(type: Type): Promise<Extract<SourceEvent, { type: Type }>> {
    for (;;) {
      const event = events[seen];
      if (event === undefined) await pause();
      else {
        seen++;
        if (event.type === type) return event as Extract<SourceEvent, { type: Type }>;
      }
    }
  }
  return { source, events, has };
}

function pause(ms = 5): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await pause();
}

function names(event: { nodes: readonly { name: string }[] }): string[] {
  return event.nodes.map(({ name }) => name);
}

function lists(server: ApiServer): number {
  return server.requests.filter(({ watch, path }) => path === "/api/v1/nodes" && !watch).length;
}

function watchVersions(server: ApiServer): (string | null)[] {
  return server.requests.filter(({ watch }) => watch).map(({ query }) => query.get("resourceVersion"));
}

function addNodes(server: ApiServer, ...added: string[]): void {
  for (const name of added) server.createNode({ metadata: { name }, spec: { podCIDR: "10.244.0.0/24" } });
}

describe("KubernetesSource", () => {
  test("reports the complete set, then each change", async () => {
    const server = await startServer();
    addNodes(server, "a", "b");
    const { has } = follow(connect(server.kubeconfig()));
    expect(names(await has("sync"))).toEqual(["a", "b"]);
    await has("connected");
    addNodes(server, "c");
    expect((await has("upsert")).node.name).toBe("c");
    server.updateNode("a", { metadata: { annotations: { [ANNOTATION.publicIp]: "192.0.2.1" } } });
    expect((await has("upsert")).node).toMatchObject({ name: "a", publicIp: parseAddress("192.0.2.1") });
    server.deleteNode("b");
    expect((await has("delete")).name).toBe("b");
  });

  test("does not report changes that do not concern the network", async () => {
    const server = await startServer();
    addNodes(server, "a");
    const { events, has } = follow(connect(server.kubeconfig()));
    await has("connected");
    const before = events.length;
    for (const ttl of ["1", "2", "3"]) server.updateNode("a", { metadata: { annotations: { ttl } } });
    addNodes(server, "b");
    await has("upsert");
    expect(events).toHaveLength(before + 1);
  });

  test("reads 1,200 nodes in pages of one snapshot", async () => {
    const server = await startServer({ historyLimit: 5000 });
    addNodes(server, ...Array.from({ length: 1200 }, (_, n) => `node-${n}`));
    const { has } = follow(connect(server.kubeconfig()));
    expect((await has("sync")).nodes).toHaveLength(1200);
    expect(lists(server)).toBe(3);
    expect(server.requests.slice(0, 3).map(({ query }) => query.get("limit"))).toEqual(["500", "500", "500"]);
    await has("connected");
    expect(watchVersions(server)).toEqual([String(server.store.version)]);
  });

  test("advances the version by bookmarks, so a later watch needs no list", async () => {
    const server = await startServer({ bookmarkMs: 20, historyLimit: 1 });
    addNodes(server, "a");
    const { has } = follow(connect(server.kubeconfig()));
    await has("connected");
    const first = server.store.version;
    // Other objects in the cluster advance the version. The watch learns this only from a bookmark.
    server.store.seed([], first + 500);
    await pause(100);
    server.endWatches();
    await has("connected");
    expect(watchVersions(server)).toEqual([String(first), String(first + 500)]);
    expect(lists(server)).toBe(1);
  });

  test("watches again after the server's timeout and misses nothing", async () => {
    const server = await startServer();
    const { events, has } = follow(connect(server.kubeconfig()), { timeoutSeconds: { min: 1, max: 1 } });
    await has("connected");
    await has("connected");
    addNodes(server, "a");
    expect((await has("upsert")).node.name).toBe("a");
    expect(lists(server)).toBe(1);
    expect(events.filter(({ type }) => type === "stale")).toEqual([]);
  });

  test("lists again after 410, without nodes deleted meanwhile", async () => {
    const server = await startServer();
    addNodes(server, "a", "b");
    const { has } = follow(connect(server.kubeconfig()));
    await has("connected");
    const { port, store, cluster } = server;
    await server.close();
    await has("stale");
    store.delete("a");
    store.create({ metadata: { name: "c" } });
    store.compact();
    const again = await startServer({ port, cluster });
    expect(names(await has("sync"))).toEqual(["b", "c"]);
    await has("connected");
    expect(lists(again)).toBe(1);
  });

  test("survives a restart of the server without a new list and reports the time without connection", async () => {
    const server = await startServer();
    addNodes(server, "a");
    const { events, has } = follow(connect(server.kubeconfig()));
    await has("connected");
    const { port, store, cluster } = server;
    await server.close();
    const first = await has("stale");
    expect(first.reason).toMatch(/^watch nodes at http:\/\/127\.0\.0\.1:\d+: aborted \(ECONNRESET\)/);
    const second = await has("stale");
    expect(second.reason).toMatch(/ECONNREFUSED.*check that the API server runs at this address/);
    expect(second.silentMs).toBeGreaterThan(first.silentMs);
    store.create({ metadata: { name: "b" } });
    const again = await startServer({ port, cluster });
    expect((await has("upsert")).node.name).toBe("b");
    expect(lists(again)).toBe(0);
    expect(events.filter(({ type }) => type === "sync" || type === "delete")).toHaveLength(1);
  });

  test("detects a half-open connection and lists again", async () => {
    const server = await startServer({ bookmarkMs: 30 });
    addNodes(server, "a");
    const { has } = follow(connect(server.kubeconfig()), { silenceMs: 150 });
    await has("connected");
    await pause(300);
    expect(server.watches()).toBe(1);
    server.stallWatches();
    addNodes(server, "b");
    const { reason, silentMs } = await has("stale");
    expect(reason).toMatch(/no data for 0 seconds; the connection is probably dead/);
    expect(silentMs).toBeGreaterThan(140);
    expect(names(await has("sync"))).toEqual(["a", "b"]);
    await has("connected");
    await until(() => server.watches() === 1);
  });

  test("follows a server whose versions decreased, as after a restored backup", async () => {
    const server = await startServer();
    addNodes(server, "a", "b");
    const { has } = follow(connect(server.kubeconfig()), { silenceMs: 200 });
    await has("connected");
    const { port } = server;
    await server.close();
    const restored = await startServer({ port });
    addNodes(restored, "a");
    expect(names(await has("sync"))).toEqual(["a"]);
  });

  test("reads a renewed token from the kubeconfig after 401 and keeps its nodes", async () => {
    const server = await startServer({ token: "first" });
    addNodes(server, "a");
    const { events, has } = follow(connect(server.kubeconfig()));
    await has("connected");
    server.setToken("second");
    server.endWatches();
    server.dropConnections();
    for (;;) {
      const { reason } = await has("stale");
      if (/401 Unauthorized; check the token/.test(reason)) break;
    }
    kubeconfigOf(server.kubeconfig());
    await has("connected");
    expect(events.filter(({ type }) => type === "sync" || type === "delete")).toHaveLength(1);
  });

  test("reports nothing after it is stopped and closes its watch", async () => {
    const server = await startServer();
    const { source, events, has } = follow(connect(server.kubeconfig()));
    await has("connected");
    await source.stop();
    const before = events.length;
    addNodes(server, "a");
    await until(() => server.watches() === 0);
    expect(events).toHaveLength(before);
  });
});

describe("a watch on metadata", () => {
  const METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
  const gets = (server: ApiServer) =>
    server.requests.filter(({ path }) => path.startsWith("/api/v1/nodes/")).map(({ target }) => target.slice(14));
  const announce = (publicIp: string) => ({ metadata: { annotations: { [ANNOTATION.publicIp]: publicIp } } });
  const addresses = (...internal: string[]) => ({
    status: { addresses: internal.map((address) => ({ type: "InternalIP", address })) },
  });

  test("requests metadata, and a complete Node only if it is new", async () => {
    const server = await startServer();
    addNodes(server, "a");
    const { has } = follow(connect(server.kubeconfig()));
    await has("connected");
    addNodes(server, "b");
    const version = server.store.get("b").metadata.resourceVersion;
    expect((await has("upsert")).node.podCidrs).toHaveLength(1);
    server.updateNode("a", announce("192.0.2.1"));
    server.updateNode("b", announce("192.0.2.2"));
    await has("upsert");
    await has("upsert");
    expect(server.requests.filter(({ watch }) => watch).map(({ headers }) => headers.accept)).toEqual([METADATA]);
    expect(gets(server)).toEqual([`b?resourceVersion=${version}`]);
  });

  test("reads a Node at each change until it has podCIDRs, not afterwards", async () => {
    const server = await startServer();
    const { has } = follow(connect(server.kubeconfig()));
    await has("connected");
    server.createNode({ metadata: { name: "a" } });
    expect((await has("upsert")).node.podCidrs).toEqual([]);
    server.updateNode("a", { spec: { podCIDR: "10.244.7.0/24" } });
    expect((await has("upsert")).node.podCidrs).toHaveLength(1);
    const before = gets(server).length;
    for (const ttl of ["1", "2"]) server.updateNode("a", { metadata: { annotations: { ttl } } });
    addNodes(server, "b");
    await has("upsert");
    expect(gets(server).slice(before)).toHaveLength(1);
  });

  test("reads a recreated Node again", async () => {
    const server = await startServer();
    addNodes(server, "a");
    const { has } = follow(connect(server.kubeconfig()));
    await has("connected");
    server.deleteNode("a");
    server.createNode({ metadata: { name: "a" }, spec: { podCIDR: "10.244.9.0/24" } });
    await has("delete");
    const { node } = await has("upsert");
    expect([node.uid, node.podCidrs.length]).toEqual([server.store.get("a").metadata.uid, 1]);
  });

  test("reads a Node that announces a new address again; its status decides", async () => {
    const server = await startServer();
    addNodes(server, "a");
    server.updateNode("a", { ...announce("192.0.2.1"), ...addresses("192.0.2.1") });
    const { has } = follow(connect(server.kubeconfig()));
    await has("connected");
    // The kubelet's report changes only the status: a watch on metadata does not show what changed.
    server.updateNode("a", addresses("192.0.2.99"));
    server.updateNode("a", announce("192.0.2.99"));
    const moved = (await has("upsert")).node;
    expect(moved).toMatchObject({ publicIp: parseAddress("192.0.2.99"), hasRefusedClaim: false });
    // In the reverse order, the claim is refused until the kubelet confirms it.
    server.updateNode("a", announce("192.0.2.7"));
    const claiming = (await has("upsert")).node;
    expect(claiming.publicIp).toBeUndefined();
    expect(claiming.problems[0]).toMatch(
      /public-ip: 192\.0\.2\.7 is not one of the Node's addresses \(192\.0\.2\.99\)/,
    );
    server.updateNode("a", addresses("192.0.2.7"));
    expect((await has("upsert")).node).toMatchObject({ publicIp: parseAddress("192.0.2.7"), problems: [] });
  });

  test("reads a Node with an unconfirmed claim again for ten minutes only", async () => {
    const server = await startServer();
    addNodes(server, "a");
    server.updateNode("a", { ...announce("203.0.113.1"), ...addresses("192.0.2.1") });
    let jumpMs = 0;
    const clock: Clock = { ...SYSTEM_CLOCK, nowMs: () => SYSTEM_CLOCK.nowMs() + jumpMs };
    const { has } = follow(connect(server.kubeconfig()), { clock, silenceMs: 10 * 3_600_000 });
    await has("connected");
    const touch = (ttl: string) => server.updateNode("a", { metadata: { annotations: { ttl } } });
    touch("1");
    await until(() => gets(server).length === 1);
    jumpMs = 11 * 60_000;
    touch("2");
    addNodes(server, "b");
    await has("upsert");
    expect(gets(server).filter((target) => target.startsWith("a"))).toHaveLength(1);
  });

  test("reads this node's own Node at each change, because its addresses select the underlay", async () => {
    const server = await startServer();
    addNodes(server, "own");
    server.updateNode("own", addresses("192.0.2.1"));
    const { has } = follow(connect(server.kubeconfig()), { ownName: "own" });
    await has("connected");
    server.updateNode("own", addresses("192.0.2.2"));
    expect((await has("upsert")).node.internalAddresses).toEqual([parseAddress("192.0.2.2")]);
  });

  test("reports a Node that cannot be read and retries", async () => {
    const server = await startServer();
    const { events, has } = follow(connect(server.kubeconfig()));
    await has("connected");
    server.failNext(2, 500);
    addNodes(server, "a");
    expect((await has("stale")).reason).toMatch(/^get node a at .*: 500 rejected on the test's request/);
    await has("connected");
    expect((await has("upsert")).node.name).toBe("a");
    expect(events.filter(({ type }) => type === "sync")).toHaveLength(1);
  });

  test("reports the complete set again if the listener fails", async () => {
    const server = await startServer();
    const api = connect(server.kubeconfig());
    const source = new KubernetesSource(api, QUICK);
    const heard: string[] = [];
    let isBroken = true;
    source.start((event) => {
      if (event.type === "upsert" && isBroken) {
        isBroken = false;
        throw new Error("listener failed");
      }
      heard.push(event.type === "sync" ? `sync ${names(event)}` : event.type);
    });
    cleanups.push(() => source.stop());
    await until(() => heard.includes("connected"));
    addNodes(server, "a");
    await until(() => heard.includes("sync a"));
    expect(heard.slice(0, 4)).toEqual(["sync ", "connected", "stale", "sync a"]);
  });
});

describe("NodeApi", () => {
  const announcement = {
    backend: { type: "vxlan", data: { 4: '{"VNI":1,"VtepMAC":"0e:2a:00:00:00:01"}' } },
    publicIp: parseAddress("192.0.2.1"),
  };

  test("publishes annotations through nodes/status, once", async () => {
    const server = await startServer();
    addNodes(server, "a");
    const api = connect(server.kubeconfig());
    const wanted = formatAnnotations(announcement);
    const node = await api.publishAnnotations("a", wanted);
    expect(node.metadata.annotations).toEqual({
      [ANNOTATION.subnetManager]: "true",
      [ANNOTATION.backendType]: "vxlan",
      [ANNOTATION.backendData]: '{"VNI":1,"VtepMAC":"0e:2a:00:00:00:01"}',
      [ANNOTATION.publicIp]: "192.0.2.1",
    });
    await api.publishAnnotations("a", wanted);
    expect(server.requests.map(({ method, path }) => `${method} ${path}`)).toEqual([
      "GET /api/v1/nodes/a",
      "PATCH /api/v1/nodes/a/status",
      "GET /api/v1/nodes/a",
    ]);
  });

  test("removes obsolete annotations and keeps those of other programs", async () => {
    const server = await startServer();
    addNodes(server, "a");
    const annotations = { other: "kept", [ANNOTATION.publicIpv6]: "fd00::1", [ANNOTATION.backendV6Data]: "null" };
    server.updateNode("a", { metadata: { annotations } });
    await connect(server.kubeconfig()).publishAnnotations("a", formatAnnotations(announcement));
    expect(Object.keys(server.store.get("a").metadata.annotations ?? {}).sort()).toEqual(
      ["other", ANNOTATION.subnetManager, ANNOTATION.backendType, ANNOTATION.backendData, ANNOTATION.publicIp].sort(),
    );
  });

  const isUp = { type: "NetworkUnavailable", status: "False", reason: "WeftIsUp", message: "up" } as const;

  test("writes a condition once, keeps other conditions and the time of its transition", async () => {
    const server = await startServer();
    const ready = { type: "Ready", status: "True" };
    server.createNode({ metadata: { name: "a" }, status: { conditions: [ready] } });
    const api = connect(server.kubeconfig());
    await api.publishCondition("a", isUp, "2026-11-21T00:00:00Z");
    await api.publishCondition("a", isUp, "2026-11-21T01:00:00Z");
    await api.publishCondition("a", { ...isUp, reason: "Other" }, "2026-11-21T02:00:00Z");
    expect(server.store.get("a").status.conditions).toEqual([
      ready,
      {
        ...{ ...isUp, reason: "Other" },
        lastHeartbeatTime: "2026-11-21T02:00:00Z",
        lastTransitionTime: "2026-11-21T00:00:00Z",
      },
    ]);
    expect(server.requests.filter(({ method }) => method === "PATCH")).toHaveLength(2);
  });

  test("creates an Event and increases its count; distinguishes a missing Event", async () => {
    const server = await startServer();
    const api = connect(server.kubeconfig());
    const time = "2026-11-21T00:00:00Z";
    const event = { type: "Warning", reason: "PeerRefused", message: "n2", firstTimestamp: time } as const;
    const name = await api.createEvent({ node: "n1", uid: undefined, ...event, lastTimestamp: time, count: 1 });
    await api.countEvent(name, { count: 5, lastTimestamp: "2026-11-21T00:05:00Z" });
    expect(server.events.list("default")).toMatchObject([
      {
        metadata: { name, namespace: "default" },
        involvedObject: { kind: "Node", name: "n1", uid: "n1" },
        source: { component: "weftd", host: "n1" },
        ...{ ...event, count: 5, lastTimestamp: "2026-11-21T00:05:00Z" },
      },
    ]);
    const error = await api.countEvent("other", { count: 1, lastTimestamp: time }).catch((reason: unknown) => reason);
    expect(isNotFound(error)).toBe(true);
  });

  test("names a missing right", async () => {
    const server = await startServer();
    addNodes(server, "a");
    server.forbid("patch nodes/status");
    await expect(connect(server.kubeconfig()).publishCondition("a", isUp, "")).rejects.toThrow(
      /set condition NetworkUnavailable of node a at .*: 403 nodes "a" is forbidden: .* cannot patch resource "nodes\/status".*; the account needs .*patch on nodes\/status/,
    );
  });

  test("distinguishes a missing Node, with advice", async () => {
    const server = await startServer();
    const error = await connect(server.kubeconfig())
      .getNode("absent")
      .catch((error: unknown) => error);
    expect(isNotFound(error)).toBe(true);
    expect(String(error)).toMatch(/get node absent at http.*404 nodes "absent" not found; .*--node-name/);
  });

  test("accepts a token file that ends in a newline, as editors write it", async () => {
    const server = await startServer({ token: "secret" });
    addNodes(server, "a");
    const tokenFile = join(folder, "token");
    writeFileSync(tokenFile, "secret\n");
    const user = { "auth-provider": { name: "tokenFile", config: { tokenFile } } };
    const config = { ...(JSON.parse(server.kubeconfig()) as object), users: [{ name: "weftd", user }] };
    expect((await connect(JSON.stringify(config)).getNode("a")).metadata.name).toBe("a");
  });

  test("reads a rotated token after the first refusal and repeats the request at once", async () => {
    const server = await startServer({ token: "first" });
    addNodes(server, "a");
    const tokenFile = join(folder, "token");
    writeFileSync(tokenFile, "first");
    const user = { "auth-provider": { name: "tokenFile", config: { tokenFile } } };
    const api = connect(
      JSON.stringify({ ...(JSON.parse(server.kubeconfig()) as object), users: [{ name: "weftd", user }] }),
    );
    await api.getNode("a");
    server.setToken("second");
    writeFileSync(tokenFile, "second");
    expect((await api.getNode("a")).metadata.name).toBe("a");
    expect(server.requests.map(({ headers }) => headers.authorization)).toEqual([
      "Bearer first",
      "Bearer first",
      "Bearer second",
    ]);
  });

  test("retries a request if the server closed the idle connection", async () => {
    const server = await startServer();
    addNodes(server, "a");
    const api = connect(server.kubeconfig());
    await api.getNode("a");
    server.dropConnections();
    expect((await api.getNode("a")).metadata.name).toBe("a");
  });

  test.each([
    ["an absent file", undefined, /credentials for the API server cannot be used: ENOENT/],
    ["a file that is not a kubeconfig", "{}", /cannot be used/],
    ["a context without a cluster", '{"current-context":"x","contexts":[]}', /names no cluster/],
  ])("%s is a credentials error", async (_name, content, message) => {
    const path = content === undefined ? join(folder, "absent") : kubeconfigOf(content);
    const error = await new NodeApi(connectKubernetes({ kubeconfig: path }))
      .getNode("a")
      .catch((error: unknown) => error);
    expect(error).toBeInstanceOf(KubernetesError);
    expect(error).toMatchObject({ code: "credentials", message: expect.stringMatching(message) });
  });

  test("names the missing kubeconfig outside a cluster", async () => {
    vi.stubEnv("KUBERNETES_SERVICE_HOST", "");
    cleanups.push(() => void vi.unstubAllEnvs());
    await expect(new NodeApi(connectKubernetes()).getNode("a")).rejects.toThrow(/no kubeconfig was given/);
  });
});

describe("a server that is not an API server", () => {
  /** A raw TCP server whose reply `answer` sends. */
  async function startRaw(answer: (socket: Socket) => void, clock?: Clock): Promise<NodeApi> {
    const server: Server = createServer((socket) => {
      socket.on("error", () => undefined);
      socket.once("data", () => answer(socket));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    cleanups.push(() => void server.close());
    const { port } = server.address() as { port: number };
    const kubeconfig = kubeconfigOf(
      JSON.stringify({
        clusters: [{ name: "c", cluster: { server: `http://127.0.0.1:${port}`, "insecure-skip-tls-verify": true } }],
        users: [{ name: "u", user: {} }],
        contexts: [{ name: "x", context: { cluster: "c", user: "u" } }],
        "current-context": "x",
      }),
    );
    return new NodeApi(connectKubernetes({ kubeconfig }, clock));
  }

  const http = (body: string) => `HTTP/1.1 200 OK\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;

  test.each([
    ["text", "hello", /get node a.*the answer is not JSON/],
    ["a list", '{"kind":"NodeList","items":[]}', /get node a: the answer is not a valid Node/],
    ["null", "null", /the answer is not a valid Node/],
  ])("get: %s is a protocol error", async (_name, body, message) => {
    const api = await startRaw((socket) => socket.end(http(body)));
    await expect(api.getNode("a")).rejects.toMatchObject({ code: "protocol", message: expect.stringMatching(message) });
  });

  test.each([
    ["items without names", '{"metadata":{"resourceVersion":"1"},"items":[{"metadata":{}}]}'],
    ["no version", '{"metadata":{},"items":[]}'],
    ["no items", '{"metadata":{"resourceVersion":"1"}}'],
    ["null", "null"],
  ])("list: %s is a protocol error", async (_name, body) => {
    const api = await startRaw((socket) => socket.end(http(body)));
    await expect(api.listPage(5, undefined)).rejects.toMatchObject({ code: "protocol" });
  });

  const watching = { version: "1", timeoutSeconds: 300, silenceMs: 60_000 };

  test.each([
    ["invalid JSON", "nonsense\n", "protocol"],
    ["an unknown type", '{"type":"RENAMED","object":{"metadata":{"name":"a","resourceVersion":"2"}}}\n', "protocol"],
    ["no name", '{"type":"ADDED","object":{"metadata":{"resourceVersion":"2"}}}\n', "protocol"],
    ["no version", '{"type":"BOOKMARK","object":{}}\n', "protocol"],
    ["null", "null\n", "protocol"],
    ["an error", '{"type":"ERROR","object":{"code":410,"message":"too old"}}\n', "refused"],
    ["half an event", '{"type":"ADD', "connection"],
  ])("watch: %s is reported with the right code", async (_name, body, code) => {
    const api = await startRaw((socket) => socket.end(http(body)));
    const handlers = { onOpen: () => undefined, onEvent: () => undefined };
    await expect(api.watch(watching, handlers)).rejects.toMatchObject({ code });
  });

  test("rethrows an error of the watch's handler unchanged", async () => {
    const body = '{"type":"ADDED","object":{"metadata":{"name":"a","resourceVersion":"2"}}}\n';
    const api = await startRaw((socket) => socket.write(http(body)));
    const mistake = Object.assign(new Error("disk full"), { code: "ENOSPC" });
    const handlers = {
      onOpen: () => undefined,
      onEvent: () => {
        throw mistake;
      },
    };
    await expect(api.watch(watching, handlers)).rejects.toBe(mistake);
  });

  test("closing the connection before the answer is a connection error", async () => {
    const api = await startRaw((socket) => socket.destroy());
    await expect(api.getNode("a")).rejects.toMatchObject({ code: "connection" });
  });

  test("no answer within half a minute is a connection error", async () => {
    const clock = new ManualClock();
    let asked = false;
    const api = await startRaw((socket) => {
      asked = true;
      cleanups.push(() => void socket.destroy());
    }, clock);
    const failed = api.getNode("a").catch((error: unknown) => error);
    await until(() => asked);
    expect(clock.pendingMs()).toEqual([30_000]);
    clock.advance(30_000);
    expect(await failed).toMatchObject({
      code: "connection",
      message: expect.stringMatching(/no answer within 30 seconds/),
    });
    expect(clock.pendingMs()).toEqual([]);
  });

  test("an event that arrives byte by byte is one event", async () => {
    const body = '{"type":"ADDED","object":{"metadata":{"name":"ä","resourceVersion":"2"}}}\n';
    const api = await startRaw((socket) => {
      socket.setNoDelay(true);
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n`);
      const bytes = [...Buffer.from(body)];
      const next = () => {
        const byte = bytes.shift();
        if (byte === undefined) socket.end();
        else socket.write(Buffer.of(byte), () => setImmediate(next));
      };
      next();
    });
    const seen: string[] = [];
    await api.watch(watching, {
      onOpen: () => undefined,
      onEvent: (event) => {
        if (event.type !== "BOOKMARK") seen.push(event.object.metadata.name);
      },
    });
    expect(seen).toEqual(["ä"]);
  });
});

describe("TLS", () => {
  const pem = (name: string) => readFileSync(new URL(`../../../test/vectors/tls/${name}`, import.meta.url), "utf8");

  test("trusts only the authority of the kubeconfig", async () => {
    const tls = { certificate: pem("server.crt"), key: pem("server.key"), authority: pem("ca.crt") };
    const server = await startServer({ tls, token: "secret" });
    addNodes(server, "a");
    const kubeconfig = server.kubeconfig();
    expect((await connect(kubeconfig).getNode("a")).metadata.name).toBe("a");
    const stranger = kubeconfig.replace(/"certificate-authority-data": "[^"]+"/, '"insecure-skip-tls-verify": false');
    expect(stranger).not.toBe(kubeconfig);
    const error = await connect(stranger)
      .getNode("a")
      .catch((error: unknown) => error);
    expect(error).toMatchObject({ code: "connection", message: expect.stringMatching(/certificate/i) });
  });

  test("reads an authority that was replaced while the process runs from its file", async () => {
    const tls = { certificate: pem("server.crt"), key: pem("server.key"), authority: pem("ca.crt") };
    const server = await startServer({ tls, token: "secret" });
    addNodes(server, "a");
    const authority = join(folder, "ca.crt");
    // Another certificate: the server's own certificate has signed none.
    writeFileSync(authority, pem("server.crt"));
    const kubeconfig = server
      .kubeconfig()
      .replace(/"certificate-authority-data": "[^"]+"/, `"certificate-authority": ${JSON.stringify(authority)}`);
    const api = connect(kubeconfig);
    await expect(api.getNode("a")).rejects.toMatchObject({ code: "connection" });
    writeFileSync(authority, pem("ca.crt"));
    expect((await api.getNode("a")).metadata.name).toBe("a");
  });
});
