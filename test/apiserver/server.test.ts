/** The HTTP server: behaviour that only a socket shows. */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterEach, describe, expect, test } from "vitest";
import { askControl, serveControl } from "./control.ts";
import { type ApiServer, type ApiServerOptions, startApiServer } from "./server.ts";

const open: ApiServer[] = [];

async function start(options?: ApiServerOptions): Promise<ApiServer> {
  const server = await startApiServer(options);
  open.push(server);
  return server;
}

afterEach(async () => {
  await Promise.all(open.splice(0).map((server) => server.close()));
});

const NODES = "/api/v1/nodes";
const MERGE_PATCH = { "content-type": "application/merge-patch+json" };

type Event = { type: string; object: { metadata: { name?: string; resourceVersion: string }; code?: number } };

/** All events until the server ends the watch. */
async function watch(server: ApiServer, query: string): Promise<Event[]> {
  const response = await fetch(`${server.url}${NODES}?watch=true&${query}`);
  expect(response.status).toBe(200);
  const text = await response.text();
  return text
    .trimEnd()
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Event);
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}

describe("watch", () => {
  test("sends changes immediately and bookmarks in between, and ends at its timeout", async () => {
    const server = await start({ bookmarkMs: 100 });
    server.createNode({ metadata: { name: "a" } });
    const from = server.store.version;
    const events = watch(server, `resourceVersion=${from}&allowWatchBookmarks=true&timeoutSeconds=1`);
    await until(() => server.watches() === 1);
    server.createNode({ metadata: { name: "b" } });
    server.deleteNode("a");
    const seen = await events;
    const changes = seen.filter(({ type }) => type !== "BOOKMARK");
    expect(changes.map(({ type, object }) => [type, object.metadata.name])).toEqual([
      ["ADDED", "b"],
      ["DELETED", "a"],
    ]);
    // On a busy machine the first bookmark may precede the first change; each has the version of the last change before
    // it.
    const versions = seen.map(({ type, object }, at) => {
      const before = seen.slice(0, at).filter((event) => event.type !== "BOOKMARK").length;
      return [type === "BOOKMARK" ? Number(object.metadata.resourceVersion) : undefined, from + before] as const;
    });
    const bookmarks = versions.filter(([version]) => version !== undefined);
    for (const [version, expected] of bookmarks) expect(version).toBe(expected);
    expect(bookmarks.at(-1)).toEqual([from + 2, from + 2]);
    await until(() => server.watches() === 0);
  });

  test("sends no bookmarks unless requested", async () => {
    const server = await start({ bookmarkMs: 50 });
    expect(await watch(server, "resourceVersion=1&timeoutSeconds=1")).toEqual([]);
  });

  test("without a version starts with the present set", async () => {
    const server = await start();
    server.createNode({ metadata: { name: "a" } });
    const [event] = await watch(server, "timeoutSeconds=1");
    expect([event?.type, event?.object.metadata.name]).toEqual(["ADDED", "a"]);
  });

  test("from a forgotten version sends an ERROR event of code 410, and ends", async () => {
    const server = await start({ historyLimit: 1 });
    for (const name of ["a", "b", "c"]) server.createNode({ metadata: { name } });
    const events = await watch(server, "resourceVersion=1&timeoutSeconds=30");
    expect(events.map(({ type, object }) => [type, object.code])).toEqual([["ERROR", 410]]);
  });
});

describe("writing", () => {
  test("nodes ignores a status, nodes/status ignores a spec, and both write annotations", async () => {
    const server = await start();
    server.createNode({ metadata: { name: "a" } });
    const patch = (path: string, annotation: string) =>
      fetch(`${server.url}${NODES}/a${path}`, {
        method: "PATCH",
        headers: MERGE_PATCH,
        body: JSON.stringify({
          metadata: { annotations: { [annotation]: "yes" } },
          spec: { unschedulable: true },
          status: { phase: "Running" },
        }),
      });
    await patch("/status", "through-status");
    expect(server.store.get("a").spec).toEqual({});
    expect(server.store.get("a").status.phase).toBe("Running");
    server.updateNode("a", { status: { phase: null } });
    await patch("", "through-nodes");
    expect(server.store.get("a").spec).toEqual({ unschedulable: true });
    expect(server.store.get("a").status.phase).toBeUndefined();
    expect(server.store.get("a").metadata.annotations).toEqual({ "through-status": "yes", "through-nodes": "yes" });
  });

  test("POST creates once, DELETE deletes once", async () => {
    const server = await start();
    const post = () =>
      fetch(`${server.url}${NODES}`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ kind: "Node", apiVersion: "v1", metadata: { name: "a" } }),
      });
    const remove = () => fetch(`${server.url}${NODES}/a`, { method: "DELETE" });
    expect([(await post()).status, (await post()).status]).toEqual([201, 409]);
    expect([(await remove()).status, (await remove()).status]).toEqual([200, 404]);
  });

  test.each([
    ["POST", NODES, "application/json", "{", 400],
    ["POST", NODES, "application/json", "[]", 400],
    ["POST", NODES, "application/json", '{"metadata":{}}', 400],
    ["POST", NODES, "application/json", '{"kind":"Pod","metadata":{"name":"b"}}', 400],
    ["POST", NODES, "application/yaml", "kind: Node", 415],
    ["PUT", NODES, "application/json", "{}", 405],
    ["PATCH", `${NODES}/a`, "application/merge-patch+json", '{"metadata":{"name":"b"}}', 400],
    ["PATCH", `${NODES}/a`, "application/merge-patch+json", '{"metadata":{"annotations":{"n":1}}}', 422],
    ["PATCH", `${NODES}/absent`, "application/merge-patch+json", "{}", 404],
    ["DELETE", `${NODES}/a/status`, "application/json", "", 405],
    ["POST", "/api/v1/widgets", "application/json", "{}", 404],
    ["POST", `${NODES}/%zz`, "application/json", "{}", 404],
  ])("rejects %s %s with %s %s by %i, and changes nothing", async (method, path, type, body, status) => {
    const server = await start();
    server.createNode({ metadata: { name: "a" } });
    const before = server.store.list();
    const answer = await fetch(server.url + path, { method, headers: { "content-type": type }, body });
    expect(answer.status).toBe(status);
    expect(await answer.json()).toMatchObject({ kind: "Status", status: "Failure", code: status });
    expect(server.store.list()).toEqual(before);
  });

  test("rejects a body beyond the limit with 413", async () => {
    const server = await start();
    const body = JSON.stringify({ metadata: { name: "a", annotations: { a: "x".repeat(4 * 1024 * 1024) } } });
    const headers = { "content-type": "application/json" };
    // The server closes the connection during the transfer, so the client may see that instead of the answer.
    const status = await fetch(`${server.url}${NODES}`, { method: "POST", headers, body }).then(
      (response) => response.status,
      () => 413,
    );
    expect(status).toBe(413);
    expect(server.store.list()).toEqual([]);
  });
});

describe("control", () => {
  test("performs API requests as an administrator, in order, and reports a rejected one", async () => {
    const server = await start({ token: "secret", permits: () => false });
    const folder = mkdtempSync(join(tmpdir(), "weft-control-"));
    const socket = join(folder, "socket");
    try {
      await serveControl(server, socket);
      const target = "/api/v1/namespaces/default/services";
      const create = { method: "POST", target, body: { metadata: { name: "web" } } };
      const patch = { method: "PATCH", target: `${target}/web`, body: { spec: { sessionAffinity: "ClientIP" } } };
      const before = server.cluster.of("services").version;
      expect((await askControl(socket, { ask: [create, patch] })).version).toBe(before + 2);
      expect(server.cluster.of("services").get("default/web").spec).toMatchObject({
        sessionAffinityConfig: { clientIP: { timeoutSeconds: 10_800 } },
      });
      await expect(askControl(socket, { ask: [create] })).rejects.toThrow(/POST .*services.*AlreadyExists/);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe("command line", () => {
  test("prints a line when ready, writes a kubeconfig, and exits with 0 on SIGTERM despite an open watch", async () => {
    const folder = mkdtempSync(join(tmpdir(), "weft-apiserver-"));
    const kubeconfig = join(folder, "kubeconfig");
    const main = new URL("main.ts", import.meta.url).pathname;
    const child = spawn(process.execPath, [main, "--listen", "127.0.0.1:0", "--kubeconfig-out", kubeconfig]);
    try {
      const exit = new Promise<number | null>((resolve) => child.once("exit", resolve));
      const line = await new Promise<string>((resolve) => createInterface(child.stdout).once("line", resolve));
      const { url } = JSON.parse(line) as { url: string };
      const { clusters } = JSON.parse(readFileSync(kubeconfig, "utf8")) as { clusters: unknown };
      expect(clusters).toMatchObject([{ cluster: { server: url } }]);
      expect(await (await fetch(`${url}/readyz`)).text()).toBe("ok");
      const watching = fetch(`${url}${NODES}?watch=true`).then((response) => response.text().catch(() => "cut"));
      await fetch(`${url}/version`);
      child.kill("SIGTERM");
      expect(await exit).toBe(0);
      await watching;
    } finally {
      child.kill("SIGKILL");
      rmSync(folder, { recursive: true });
    }
  });

  test.each([
    [["--listen", "nowhere"], /--listen nowhere: expected HOST:PORT/],
    [["--listen", "127.0.0.1:0", "--bookmark-seconds", "0"], /--bookmark-seconds 0/],
    [["--listen", "127.0.0.1:0", "--tls-cert", "x"], /--tls-cert and --tls-key must be given together/],
  ])("%j exits with status 1 and gives the reason", async (argv, message) => {
    const child = spawn(process.execPath, [new URL("main.ts", import.meta.url).pathname, ...argv]);
    const exit = new Promise<number | null>((resolve) => child.once("exit", resolve));
    let text = "";
    for await (const chunk of child.stderr) text += String(chunk);
    expect(await exit).toBe(1);
    expect(text).toMatch(message);
  });
});
