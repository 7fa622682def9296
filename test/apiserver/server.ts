/**
 * A stand-in for kube-apiserver that knows Nodes: the HTTP shell around `handler.ts`. What it answers is checked
 * against recordings of a real one (`recordings.test.ts`). It also keeps a log of requests, and can misbehave on
 * request, so that tests see what a client asked for and what it makes of a bad day.
 */
import { randomUUID } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { type ApiRequest, handle, refuse } from "./handler.ts";
import { formatKubeconfig } from "./kubeconfig.ts";
import { mergePatch } from "./mergepatch.ts";
import type { JsonObject, NodeInput, NodeObject } from "./resource.ts";
import { ApiError } from "./status.ts";
import { NodeStore } from "./store.ts";
import { openWatcher, type Watcher } from "./watcher.ts";

export interface ApiServerOptions {
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** Default 0: any free port. */
  readonly port?: number;
  readonly tls?: TlsFiles;
  /** The only bearer token that is let in; without it everybody is. */
  readonly token?: string;
  /** Time between two bookmarks of a watch. Default 60,000, as a real server. */
  readonly bookmarkMs?: number;
  /** How many changes the history keeps. Default 1000. */
  readonly historyLimit?: number;
  /** What is stored; pass the store of a closed server to go on where it ended. */
  readonly store?: NodeStore;
}

/** PEM texts. */
export interface TlsFiles {
  readonly certificate: string;
  readonly key: string;
  /** Who signed the certificate; clients of the kubeconfig trust it. Default: the certificate itself. */
  readonly authority?: string;
}

/** One line of the request log. */
export interface RequestRecord extends ApiRequest {
  readonly path: string;
  readonly query: URLSearchParams;
  readonly watch: boolean;
}

export interface ApiServer {
  readonly url: string;
  readonly port: number;
  readonly store: NodeStore;
  /** Every request since the start, oldest first, refused ones too. */
  readonly requests: readonly RequestRecord[];
  kubeconfig(): string;
  createNode(node: NodeInput): NodeObject;
  /** Applies a merge patch to the whole Node, spec and status alike. */
  updateNode(name: string, patch: JsonObject): NodeObject;
  deleteNode(name: string): void;
  /** Accepts only this token from now on, or anybody with `undefined`. Open watches stay. */
  setToken(token: string | undefined): void;
  /** Answers the next `count` requests with this status instead of an answer. */
  failNext(count: number, status: number): void;
  /** Number of open watches. */
  watches(): number;
  /** Ends all open watches in the regular way. */
  endWatches(): void;
  /** Open watches fall silent without being closed. Later ones are served. */
  stallWatches(): void;
  /** Cuts all connections in the middle of whatever they carry. */
  dropConnections(): void;
  /** Stops listening, ends what is open, and resolves when the port is free. */
  close(): Promise<void>;
}

/** A real server refuses bodies beyond this too. */
const BODY_LIMIT_BYTES = 3 * 1024 * 1024;

/** Rejects when the address cannot be bound. */
export async function startApiServer(options: ApiServerOptions = {}): Promise<ApiServer> {
  const host = options.host ?? "127.0.0.1";
  const store = options.store ?? new NodeStore({ ...limitOf(options), nowMs: Date.now, newUid: randomUUID });
  const watchers = new Set<Watcher>();
  const requests: RequestRecord[] = [];
  let token = options.token;
  let failure = { count: 0, status: 500 };

  const serve = async (message: IncomingMessage, response: ServerResponse) => {
    const request = await readRequest(message);
    requests.push(request);
    if (failure.count > 0) {
      failure = { ...failure, count: failure.count - 1 };
      return send(response, refuse(new ApiError(failure.status, "InternalError", "refused as the test asked for")));
    }
    const outcome = handle({ store, token }, request);
    if (outcome.kind === "answer") return send(response, outcome.answer);
    const { bookmarkMs = 60_000 } = options;
    const watcher = openWatcher(store, outcome.query, response, bookmarkMs, () => watchers.delete(watcher));
    watchers.add(watcher);
  };
  const server = createListener(options.tls, (message, response) => {
    serve(message, response).catch((error: unknown) => {
      const refusal = error instanceof ApiError ? error : new ApiError(500, "InternalError", String(error));
      if (response.headersSent || response.destroyed) response.destroy();
      else send(response, refuse(refusal));
    });
  });
  await listen(server, host, options.port ?? 0);
  const { port } = server.address() as AddressInfo;
  const url = `${options.tls ? "https" : "http"}://${host.includes(":") ? `[${host}]` : host}:${port}`;
  const authority = options.tls?.authority ?? options.tls?.certificate;

  return {
    url,
    port,
    store,
    requests,
    kubeconfig: () => formatKubeconfig({ url, token, authority }),
    createNode: (node) => store.create(node),
    updateNode: (name, patch) => store.update(name, (node) => mergePatch(node, patch) as unknown as NodeInput),
    deleteNode: (name) => {
      store.delete(name);
    },
    setToken: (accepted) => {
      token = accepted;
    },
    failNext: (count, status) => {
      failure = { count, status };
    },
    watches: () => watchers.size,
    endWatches: () => {
      for (const watcher of watchers) watcher.end();
    },
    stallWatches: () => {
      for (const watcher of watchers) watcher.stall();
    },
    dropConnections: () => server.closeAllConnections(),
    close: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      await closed;
    },
  };
}

function limitOf({ historyLimit }: ApiServerOptions): { historyLimit?: number } {
  return historyLimit === undefined ? {} : { historyLimit };
}

function createListener(
  tls: TlsFiles | undefined,
  listener: (message: IncomingMessage, response: ServerResponse) => void,
): Server {
  if (tls === undefined) return createServer(listener);
  return createTlsServer({ cert: tls.certificate, key: tls.key }, listener);
}

function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

async function readRequest(message: IncomingMessage): Promise<RequestRecord> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of message as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > BODY_LIMIT_BYTES) throw new ApiError(413, "RequestEntityTooLarge", "the request body is too large");
    chunks.push(chunk);
  }
  const { pathname, searchParams } = new URL(message.url ?? "/", "http://apiserver");
  return {
    method: message.method ?? "GET",
    target: message.url ?? "/",
    headers: message.headers as ApiRequest["headers"],
    body: Buffer.concat(chunks).toString("utf8"),
    path: pathname,
    query: searchParams,
    watch: searchParams.get("watch") === "true" || searchParams.get("watch") === "1",
  };
}

function send(response: ServerResponse, answer: { status: number; headers: object; body: string }): void {
  response.writeHead(answer.status, { "Cache-Control": "no-cache, private", ...answer.headers });
  response.end(answer.body);
}
