/** The choice and order of API servers, and the change to the next one, over TLS. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { KubeConfig } from "@kubernetes/client-node/dist/config.js";
import { afterEach, describe, expect, test } from "vitest";
import { formatKubeconfig } from "../../test/apiserver/kubeconfig.ts";
import { type ApiServer, startApiServer } from "../../test/apiserver/server.ts";
import { parseApiEndpoint } from "./known-servers.ts";
import { connectKubernetes, type ServerNames, serversOf, spread } from "./kubeconfig.ts";
import { NodeApi } from "./node/node-api.ts";
import type { Server } from "./servers.ts";

const pem = (name: string) => readFileSync(new URL(`../../test/vectors/tls/${name}`, import.meta.url), "utf8");
const AUTHORITY = pem("kubernetes-ca.crt");

function configOf(server: string, cluster: object = {}): KubeConfig {
  const config = new KubeConfig();
  const { clusters, ...rest } = JSON.parse(formatKubeconfig({ url: server, authority: AUTHORITY })) as {
    clusters: { name: string; cluster: object }[];
  };
  const changed = clusters.map((one) => ({ ...one, cluster: { ...one.cluster, ...cluster } }));
  config.loadFromString(JSON.stringify({ ...rest, clusters: changed }));
  return config;
}

describe("serversOf", () => {
  const known = ["192.0.2.1:6443", "[2001:db8::2]:6443"].map(parseApiEndpoint);
  const listed = (config: KubeConfig, names: Partial<ServerNames>) =>
    serversOf(config, { apiServers: [], known, servicePort: undefined, ...names }).map(
      ({ origin, url, tlsName }) => `${origin} ${url}${tlsName === undefined ? "" : ` as ${tlsName}`}`,
    );
  const KNOWN = [
    "known https://192.0.2.1:6443 as kubernetes.default.svc",
    "known https://[2001:db8::2]:6443 as kubernetes.default.svc",
  ];

  test("lists a kubeconfig's server first, then the known ones", () => {
    expect(listed(configOf("https://lb.example:6443"), {})).toEqual(["configured https://lb.example:6443", ...KNOWN]);
  });

  test("lists the ClusterIP of a pod's environment last", () => {
    const clusterIp = configOf("https://10.96.0.1:443");
    expect(listed(clusterIp, { servicePort: "tcp://10.96.0.1:443" })).toEqual([...KNOWN, "service https://10.96.0.1"]);
  });

  test("lists another address in KUBERNETES_SERVICE_HOST first", () => {
    const elsewhere = configOf("https://192.0.2.9:6443");
    expect(listed(elsewhere, { servicePort: "tcp://[fd00::1]:443" })).toEqual([
      "configured https://192.0.2.9:6443",
      ...KNOWN,
      "service https://[fd00::1]",
    ]);
  });

  test("lists --apiserver instead of the configuration's server, without duplicates", () => {
    const apiServers = ["https://192.0.2.9:6443", "https://192.0.2.1:6443"];
    expect(listed(configOf("https://lb.example:6443"), { apiServers })).toEqual([
      "configured https://192.0.2.9:6443",
      "configured https://192.0.2.1:6443",
      KNOWN[1],
    ]);
  });

  test.each([
    ["does not verify servers", "https://lb.example", { "insecure-skip-tls-verify": true }],
    ["uses a proxy", "https://lb.example", { "proxy-url": "http://proxy.example" }],
    ["does not encrypt", "http://127.0.0.1:8001", {}],
  ])("lists no known server if the configuration %s", (_name, url, cluster) => {
    expect(listed(configOf(url, cluster), {})).toEqual([`configured ${url}`]);
  });
});

test("spreads nodes over API servers; each node has a constant order", () => {
  const first = Array.from({ length: 300 }, (_, n) => spread(["a", "b", "c"], `node-${n}`)[0]);
  for (const server of ["a", "b", "c"]) expect(first.filter((one) => one === server).length).toBeGreaterThan(70);
  expect(spread(["a", "b", "c"], "node-1")).toEqual(spread(["a", "b", "c"], "node-1"));
  expect([...spread(["a", "b", "c"], "node-1")].sort()).toEqual(["a", "b", "c"]);
  expect(spread([], "node-1")).toEqual([]);
});

describe("a server that fails", () => {
  const cleanups: (() => void | Promise<void>)[] = [];
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  });

  async function startServer(host: string, node: string, certificate = "kubernetes"): Promise<ApiServer> {
    const server = await startApiServer({
      ...{ host, token: "secret" },
      tls: { certificate: pem(`${certificate}.crt`), key: pem(`${certificate}.key`) },
    });
    cleanups.push(() => server.close());
    server.createNode({ metadata: { name: node } });
    return server;
  }

  /** Accepts connections without sending anything, so a TLS handshake never completes. */
  async function startMute(): Promise<number> {
    const sockets: Socket[] = [];
    const server = createServer((socket) => sockets.push(socket.on("error", () => undefined)));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    cleanups.push(() => {
      for (const socket of sockets) socket.destroy();
      server.close();
    });
    return (server.address() as { port: number }).port;
  }

  /** Connects with `first` as the configured server and `others` as known servers. */
  function connect(first: string, others: readonly ApiServer[], authority = AUTHORITY) {
    const folder = mkdtempSync(join(tmpdir(), "weft-servers-"));
    cleanups.push(() => rmSync(folder, { recursive: true }));
    const kubeconfig = join(folder, "kubeconfig");
    writeFileSync(kubeconfig, formatKubeconfig({ url: first, token: "secret", authority }));
    const used: Server[] = [];
    const known = others.map(({ url }) => parseApiEndpoint(url.slice("https://".length)));
    const connection = connectKubernetes({ kubeconfig, known: () => known, onServer: (one) => used.push(one) });
    cleanups.push(() => connection.close());
    return { api: new NodeApi(connection), used };
  }

  test("is replaced within the same request if it refuses the connection, even for a write", async () => {
    const server = await startServer("127.0.0.1", "a");
    const { api, used } = connect("https://127.0.0.1:1", [server]);
    await api.publishAnnotations("a", { x: "1" } as never);
    expect(used).toMatchObject([{ origin: "known", url: server.url }]);
  });

  test("is replaced if it does not complete a connection in time", async () => {
    const server = await startServer("127.0.0.1", "a");
    const { api } = connect(`https://127.0.0.1:${await startMute()}`, [server]);
    expect((await api.getNode("a")).metadata.name).toBe("a");
  });

  test("is replaced if its certificate is for another name, because another host has its address", async () => {
    const server = await startServer("127.0.0.1", "a");
    const { api } = connect(server.url, [server]);
    // A configured server's certificate must match the URL. The same server as a known one must match its fixed name.
    await expect(api.getNode("a")).rejects.toThrow(/certificate|altnames/i);
    const other = await startServer("127.0.0.1", "a");
    const { api: second } = connect(server.url, [other]);
    expect((await second.getNode("a")).metadata.name).toBe("a");
  });

  test("gets no request as a known server if its certificate is only for its address", async () => {
    const server = await startServer("127.0.0.1", "a", "server");
    const { api } = connect("https://127.0.0.1:1", [server], pem("ca.crt"));
    await expect(api.getNode("a")).rejects.toThrow(/kubernetes\.default\.svc/);
    expect(server.requests).toEqual([]);
    // The authority signed the certificate, so the name was the reason for the refusal.
    const { api: configured } = connect(server.url, [], pem("ca.crt"));
    expect((await configured.getNode("a")).metadata.name).toBe("a");
  });

  test("is replaced in the next request if it answers 503; the ring then wraps around", async () => {
    const [first, second] = [await startServer("127.0.0.1", "a"), await startServer("127.0.0.1", "a")];
    const { api, used } = connect("https://127.0.0.1:1", [first, second]);
    await api.getNode("a");
    first.failNext(1, 503);
    await expect(api.getNode("a")).rejects.toMatchObject({ status: 503 });
    await api.getNode("a");
    await second.close();
    await api.getNode("a");
    expect(used.map(({ url }) => url)).toEqual([first.url, second.url, first.url]);
  });

  test("fails the request if all other servers fail, too; the error names the last one", async () => {
    const server = await startServer("127.0.0.1", "a");
    await server.close();
    const { api } = connect("https://127.0.0.1:1", [server]);
    await expect(api.getNode("a")).rejects.toThrow(new RegExp(`${server.url}.*ECONNREFUSED`));
  });
});
