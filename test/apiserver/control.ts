/**
 * Controls a test API server that runs in another process and network namespace: JSON over HTTP on a Unix socket, which
 * does not depend on the network namespace.
 */
import { createServer, type IncomingMessage, request } from "node:http";
import type { Fault } from "./fault.ts";
import { customKind } from "./kinds.ts";
import type { JsonObject, NodeInput } from "./resource.ts";
import type { ApiServer } from "./server.ts";

/** The fields are processed in this order. */
export interface ControlRequest {
  /** Kinds to serve, as after the creation of a CustomResourceDefinition. */
  readonly define?: readonly Parameters<typeof customKind>[0][];
  readonly create?: readonly NodeInput[];
  readonly update?: readonly { readonly name: string; readonly patch: JsonObject }[];
  readonly remove?: readonly string[];
  /** Any API request, made as an administrator. Objects of kinds other than Node are created this way. */
  readonly ask?: readonly { readonly method: string; readonly target: string; readonly body?: JsonObject }[];
  /** Discards the history: every older version is 410. */
  readonly compact?: boolean;
  /** null ends the previous fault. */
  readonly fault?: Fault | null;
  /** null accepts every client. */
  readonly token?: string | null;
  /** Cuts all connections in the middle of a transfer. */
  readonly dropConnections?: boolean;
}

export interface Sight {
  /** The time before the first change of this request was written to watches, in milliseconds since 1970. */
  readonly writtenMs: number;
  readonly version: number;
  /** Number of open watches. */
  readonly watches: number;
  /** Since the start, including rejected ones. */
  readonly requests: number;
  readonly lists: number;
  readonly gets: number;
  readonly events: readonly JsonObject[];
}

/** Serves requests until the process exits. */
export function serveControl(server: ApiServer, socketPath: string): Promise<void> {
  const control = createServer((message, response) => {
    readText(message)
      .then((text) => {
        const order = JSON.parse(text) as ControlRequest;
        const writtenMs = performance.timeOrigin + performance.now();
        carryOut(server, order);
        response.end(JSON.stringify(sightOf(server, writtenMs)));
      })
      .catch((error: unknown) => {
        response.writeHead(400).end(error instanceof Error ? error.message : String(error));
      });
  });
  control.unref();
  return new Promise((resolve, reject) => {
    control.once("error", reject);
    control.listen(socketPath, resolve);
  });
}

/** The client side. Throws if the test API server rejects a request. */
export function askControl(socketPath: string, order: ControlRequest): Promise<Sight> {
  return new Promise((resolve, reject) => {
    const asking = request({ socketPath, method: "POST", path: "/" }, (response) => {
      readText(response).then((text) => {
        if (response.statusCode === 200) resolve(JSON.parse(text) as Sight);
        else reject(new Error(`test API server: ${text}`));
      }, reject);
    });
    asking.once("error", reject);
    asking.end(JSON.stringify(order));
  });
}

function carryOut(server: ApiServer, order: ControlRequest): void {
  for (const names of order.define ?? []) server.cluster.define(customKind(names));
  for (const node of order.create ?? []) server.createNode(node);
  for (const { name, patch } of order.update ?? []) server.updateNode(name, patch);
  for (const name of order.remove ?? []) server.deleteNode(name);
  for (const asked of order.ask ?? []) {
    const { status, body } = server.ask(asked);
    if (status >= 300) throw new Error(`${asked.method} ${asked.target}: ${body}`);
  }
  if (order.compact) server.store.compact();
  if (order.fault !== undefined) server.misbehave(order.fault ?? undefined);
  if (order.token !== undefined) server.setToken(order.token ?? undefined);
  if (order.dropConnections) server.dropConnections();
}

function sightOf(server: ApiServer, writtenMs: number): Sight {
  const reads = server.requests.filter(({ method, watch }) => method === "GET" && !watch);
  return {
    writtenMs,
    version: server.store.version,
    watches: server.watches(),
    requests: server.requests.length,
    lists: reads.filter(({ path }) => path === "/api/v1/nodes").length,
    gets: reads.filter(({ path }) => path.startsWith("/api/v1/nodes/")).length,
    events: server.events.list(),
  };
}

async function readText(message: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of message as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks).toString("utf8");
}
