/**
 * A test API server with Nodes, Events and the kinds of `kinds.ts`: the HTTP server around `handler.ts`. Recordings of
 * a real kube-apiserver verify its answers (`recordings.test.ts`). It also logs requests, and simulates faults, so that
 * tests see what a client requested and how it handles failures.
 */
import { randomUUID } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import type { Admit } from "./admission.ts";
import { Cluster } from "./cluster.ts";
import type { EventStore } from "./events.ts";
import type { Fault } from "./fault.ts";
import { type Answer, type ApiRequest, handle, refuse } from "./handler.ts";
import { formatKubeconfig } from "./kubeconfig.ts";
import { mergePatch } from "./mergepatch.ts";
import type { Permits } from "./rbac.ts";
import type { JsonObject, NodeInput, NodeObject } from "./resource.ts";
import { ApiError, tooOld } from "./status.ts";
import type { NodeStore } from "./store.ts";
import { formatLine } from "./watch.ts";
import { openWatcher, type Watcher } from "./watcher.ts";

export interface ApiServerOptions {
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** Default 0: any free port. */
  readonly port?: number;
  readonly tls?: TlsFiles;
  /** The only accepted bearer token. Without it, every client is accepted. */
  readonly token?: string;
  /** The permitted actions of clients with a bearer token. Clients without one are administrators. Default: all. */
  readonly permits?: Permits;
  /** The admission policies for writes of clients with a bearer token. Default: none. */
  readonly admit?: Admit;
  /** Time between two bookmarks of a watch. Default 60,000, as a real server. */
  readonly bookmarkMs?: number;
  /** The number of changes of each kind in the history. Default 1000. */
  readonly historyLimit?: number;
  /** The stored objects. Pass those of a closed server to continue where it ended. */
  readonly cluster?: Cluster;
}

/** PEM texts. */
export interface TlsFiles {
  readonly certificate: string;
  readonly key: string;
  /** The certificate of the signer, which the kubeconfig's clients trust. Default: the certificate itself. */
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
  /** All stored objects. */
  readonly cluster: Cluster;
  /** The cluster's Nodes. */
  readonly store: NodeStore;
  readonly events: EventStore;
  /** Every request since the start, oldest first, including rejected ones. */
  readonly requests: readonly RequestRecord[];
  /** Number of open TCP connections. */
  connections(): number;
  /** Number of TCP connections accepted since the start. */
  accepted(): number;
  kubeconfig(): string;
  createNode(node: NodeInput): NodeObject;
  /** Applies a merge patch to the whole Node, including spec and status. */
  updateNode(name: string, patch: JsonObject): NodeObject;
  deleteNode(name: string): void;
  /** Performs a request as an administrator, regardless of token and fault, without a line in the log. */
  ask(request: Pick<ApiRequest, "method" | "target"> & { readonly body?: JsonObject }): Answer;
  /** Accepts only this token from now on; `undefined` accepts every client. Open watches stay. */
  setToken(token: string | undefined): void;
  /** Forbids actions to all clients from now on: "patch nodes/status", "create events". */
  forbid(...actions: string[]): void;
  /** Simulates a fault from now on; undefined ends it. */
  misbehave(fault: Fault | undefined): void;
  /** Answers the next `count` requests with this error status. */
  failNext(count: number, status: number): void;
  /** Number of open watches. */
  watches(): number;
  /** Ends all open watches regularly. */
  endWatches(): void;
  /** Open watches send nothing more, and stay open. Later ones work. */
  stallWatches(): void;
  /** Cuts all connections in the middle of a transfer. */
  dropConnections(): void;
  /** Stops listening, closes everything, and resolves when the port is free. */
  close(): Promise<void>;
}

/** A real server also rejects larger bodies. */
const BODY_LIMIT_BYTES = 3 * 1024 * 1024;

/** Rejects if the address cannot be bound. */
export async function startApiServer(options: ApiServerOptions = {}): Promise<ApiServer> {
  const host = options.host ?? "127.0.0.1";
  const { historyLimit } = options;
  const cluster = options.cluster ?? new Cluster({ historyLimit, nowMs: Date.now, newUid: randomUUID });
  const { nodes: store, events } = cluster;
  const watchers = new Set<Watcher>();
  const requests: RequestRecord[] = [];
  let forbidden: ReadonlySet<string> = new Set();
  let token = options.token;
  let fault: Fault | undefined;
  const { bookmarkMs = 60_000 } = options;

  const stallWatches = () => {
    for (const watcher of watchers) watcher.stall();
  };
  const misbehave = (wanted: Fault | undefined) => {
    fault = wanted;
    if (fault?.kind === "hang" || fault?.kind === "mute") stallWatches();
    if (fault?.kind === "expire") for (const watcher of watchers) watcher.end();
  };
  const serve = async (message: IncomingMessage, response: ServerResponse) => {
    const request = await readRequest(message);
    requests.push(request);
    if (fault?.kind === "hang") return;
    const refusal = takeRefusal();
    if (refusal !== undefined) return send(response, refusal);
    const { permits, admit } = options;
    const outcome = handle({ cluster, token, forbidden, permits, admit }, request);
    if (outcome.kind === "answer") {
      return send(response, fault?.kind === "truncate" ? truncated(outcome.answer) : outcome.answer);
    }
    if (fault?.kind === "expire") {
      const line = formatLine("ERROR", tooOld(outcome.query.version ?? 0, store.version).toStatus());
      return send(response, { status: 200, headers: { "Content-Type": "application/json" }, body: line });
    }
    const watcher = openWatcher(outcome.store, outcome.query, response, bookmarkMs, () => watchers.delete(watcher));
    watchers.add(watcher);
    if (fault?.kind === "mute") watcher.stall();
    if (fault?.kind === "truncate") response.end('{"type":"MODI');
  };
  const takeRefusal = (): Answer | undefined => {
    if (fault?.kind !== "refuse") return undefined;
    const { status, count, retryAfterSeconds } = fault;
    if (count !== undefined) fault = count > 1 ? { ...fault, count: count - 1 } : undefined;
    const details = retryAfterSeconds === undefined ? {} : { retryAfterSeconds };
    return refuse(new ApiError(status, "InternalError", "rejected on the test's request", details));
  };
  const server = createListener(options.tls, (message, response) => {
    serve(message, response).catch((error: unknown) => {
      const refusal = error instanceof ApiError ? error : new ApiError(500, "InternalError", String(error));
      if (response.headersSent || response.destroyed) response.destroy();
      else send(response, refuse(refusal));
    });
  });
  const sockets = new Set<Socket>();
  let accepted = 0;
  server.on("connection", (socket: Socket) => {
    accepted++;
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  await listen(server, host, options.port ?? 0);
  const { port } = server.address() as AddressInfo;
  const url = `${options.tls ? "https" : "http"}://${host.includes(":") ? `[${host}]` : host}:${port}`;
  const authority = options.tls?.authority ?? options.tls?.certificate;

  return {
    url,
    port,
    cluster,
    store,
    events,
    requests,
    connections: () => sockets.size,
    accepted: () => accepted,
    kubeconfig: () => formatKubeconfig({ url, token, authority }),
    createNode: (node) => store.create(node),
    updateNode: (name, patch) => store.update(name, (node) => mergePatch(node, patch) as unknown as NodeInput),
    deleteNode: (name) => {
      store.delete(name);
    },
    ask: ({ method, target, body }) => {
      const type = method === "PATCH" ? "application/merge-patch+json" : "application/json";
      const text = body === undefined ? "" : JSON.stringify(body);
      const outcome = handle({ cluster }, { method, target, headers: { "content-type": type }, body: text });
      if (outcome.kind === "watch") throw new Error("a watch has no answer");
      return outcome.answer;
    },
    setToken: (accepted) => {
      token = accepted;
    },
    forbid: (...actions) => {
      forbidden = new Set(actions);
    },
    misbehave,
    failNext: (count, status) => misbehave({ kind: "refuse", status, count }),
    watches: () => watchers.size,
    endWatches: () => {
      for (const watcher of watchers) watcher.end();
    },
    stallWatches,
    dropConnections: () => server.closeAllConnections(),
    close: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      await closed;
    },
  };
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

/** Half of the answer, complete as far as HTTP is concerned. */
function truncated(answer: Answer): Answer {
  return { ...answer, body: answer.body.slice(0, answer.body.length / 2) };
}

function send(response: ServerResponse, answer: Answer): void {
  response.writeHead(answer.status, { "Cache-Control": "no-cache, private", ...answer.headers });
  response.end(answer.body);
}
