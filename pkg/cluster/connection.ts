/**
 * HTTP to the API server. KubeConfig of `@kubernetes/client-node` provides credentials and TLS settings, node:http(s)
 * does the rest.
 *
 * Only the library's config module is imported. Its main entry loads a thousand generated models, and its watch closes
 * a connection after 30 seconds even if data arrives.
 */
import http from "node:http";
import https from "node:https";
import type { KubeConfig } from "@kubernetes/client-node/dist/config.js";
import { type Clock, SilenceTimer } from "./clock.ts";
import { type Advice, GENERAL_ADVICE, KubernetesError } from "./errors.ts";
import { SendError, send } from "./send.ts";
import { type Server, ServerRing, serverUrl } from "./servers.ts";

/** The identity of this process for the API server, and the servers that it may contact. */
export interface Access {
  /** Reads the credentials and the certificate authority for the servers' certificates. Throws if there are none. */
  readonly load: () => KubeConfig;
  /** Returns the servers in order of preference. Default: the server of the configuration. */
  readonly servers?: (config: KubeConfig) => readonly Server[];
  /** Called if another server than before has answered. Must not throw. */
  readonly onServer?: (server: Server) => void;
}

export interface ConnectionRequest {
  /** The attempted operation for error messages: "list nodes". */
  readonly operation: string;
  readonly method: "GET" | "PATCH" | "POST";
  /** The path with query, below the server's own path. */
  readonly path: string;
  readonly body?: { readonly mediaType: string; readonly text: string };
  /** The requested format of the answer. Default: JSON, the complete object. */
  readonly accept?: string;
  /** Advice for the operator if the server refuses this request. */
  readonly advice?: Advice;
}

export interface StreamHandlers {
  /** Called when the server has accepted the request and the stream has begun. */
  onOpen(): void;
  /** May throw. The stream is then closed, and `stream` rejects with the error. */
  onBytes(bytes: Uint8Array): void;
}

/** Timeout for the start of an answer, and for pauses within it. */
export const ANSWER_SILENCE_MS = 30_000;

/** Upper limit for a server's Retry-After. */
const MAX_RETRY_AFTER_MS = 60_000;

/**
 * Idle time after which TCP sends keepalive probes. libuv sends ten probes at intervals of one second, so a half-open
 * connection is detected after 25 seconds.
 */
const TCP_PROBE_MS = 15_000;

/** The destination and options of one attempt. */
interface Target {
  readonly server: Server;
  readonly url: URL;
  readonly options: https.RequestOptions;
}

/**
 * One cluster and one pool of connections, for any number of resources. It uses HTTP/1.1: each open watch has its own
 * TCP connection, all other requests share idle ones.
 *
 * If a connection to a server fails, the same request moves on to the next server at once. If a server does not answer,
 * or answers with 500 or above, later requests use the next server; the failed request is not repeated, because the
 * server may have executed it.
 */
export class Connection {
  readonly #access: Access;
  readonly #ring: ServerRing;
  readonly #clock: Clock;
  readonly #agents = {
    "http:": new http.Agent({ keepAlive: true, keepAliveMsecs: TCP_PROBE_MS }),
    "https:": new https.Agent({ keepAlive: true, keepAliveMsecs: TCP_PROBE_MS }),
  } as const;
  #config: KubeConfig | undefined;

  /**
   * `access.load` is called again after a failed connection and after a 401, which is retried once at once: tokens,
   * certificates and the server's authority may be renewed while this process runs.
   */
  constructor(access: Access, clock: Clock) {
    this.#access = access;
    this.#ring = new ServerRing(access.onServer);
    this.#clock = clock;
  }

  /** Returns the complete answer as parsed JSON. Throws `KubernetesError`, also for every status from 300 on. */
  async request(request: ConnectionRequest, signal?: AbortSignal): Promise<unknown> {
    const text = await this.#exchange(request, ANSWER_SILENCE_MS, signal, readText);
    try {
      return JSON.parse(text);
    } catch (cause) {
      throw new KubernetesError("protocol", `${request.operation}: the answer is not JSON`, { cause });
    }
  }

  /**
   * Resolves when the server has ended the answer normally. `silenceMs` is the longest pause within the answer after
   * its start. Throws as `request` does, and rethrows errors of the handlers.
   */
  async stream(
    request: ConnectionRequest,
    silenceMs: number,
    handlers: StreamHandlers,
    signal?: AbortSignal,
  ): Promise<void> {
    await this.#exchange(request, silenceMs, signal, async (chunks) => {
      handlers.onOpen();
      for await (const bytes of chunks) handlers.onBytes(bytes);
    });
  }

  /**
   * Closes all connections, including those in use: their requests fail, and a watch continues on a new connection.
   * Called if the host's address has changed: nothing arrives at the old address any more, and the server may send no
   * reset.
   */
  reconnect(): void {
    this.close();
  }

  /** Closes all connections. */
  close(): void {
    for (const agent of Object.values(this.#agents)) agent.destroy();
  }

  async #exchange<Result>(
    request: ConnectionRequest,
    silenceMs: number,
    signal: AbortSignal | undefined,
    read: (chunks: AsyncIterable<Uint8Array>) => Promise<Result>,
  ): Promise<Result> {
    let isRenewed = false;
    const unreached = new Set<string>();
    for (;;) {
      const target = await this.#target(request);
      try {
        return await this.#attempt(request, target, silenceMs, signal, read);
      } catch (error) {
        if (signal?.aborted) throw error;
        if (isUnsent(error)) {
          unreached.add(target.server.url);
          if (unreached.has(this.#ring.current?.url ?? "")) throw error;
        } else {
          if (isRenewed || !isUnauthorized(error)) throw error;
          this.#config = undefined;
          isRenewed = true;
        }
      }
    }
  }

  async #attempt<Result>(
    request: ConnectionRequest,
    target: Target,
    silenceMs: number,
    signal: AbortSignal | undefined,
    read: (chunks: AsyncIterable<Uint8Array>) => Promise<Result>,
  ): Promise<Result> {
    const { server } = target;
    const controller = new AbortController();
    const abort = () => controller.abort();
    signal?.addEventListener("abort", abort);
    if (signal?.aborted) abort();
    try {
      const response = await this.#open(request, target, controller.signal);
      const { statusCode: status = 0 } = response;
      if (status >= 500) this.#ring.failed(server);
      else this.#ring.answered(server);
      const chunks = this.#chunks(request, server, response, status >= 300 ? ANSWER_SILENCE_MS : silenceMs, abort);
      if (status >= 300) throw this.#refusal(request, server, response, await readText(chunks));
      return await read(chunks);
    } catch (error) {
      abort();
      throw error;
    } finally {
      signal?.removeEventListener("abort", abort);
    }
  }

  /**
   * Sends the request and resolves with the head of the answer. A server that does not begin to answer counts as
   * unreachable.
   */
  async #open(
    request: ConnectionRequest,
    { server, url, options }: Target,
    signal: AbortSignal,
  ): Promise<http.IncomingMessage> {
    const limits = { connectMs: this.#ring.connectLimitMs, answerMs: ANSWER_SILENCE_MS };
    try {
      return await send(url, { ...options, signal }, request.body?.text, limits, this.#clock);
    } catch (error) {
      if (!(error instanceof SendError) || signal.aborted) throw this.#broken(request, server, error);
      this.#ring.failed(server);
      if (error.limitMs === undefined) throw this.#broken(request, server, error);
      const what = error.isUnsent ? "no connection within" : "no answer within";
      const message = `${subject(request, server)}: ${what} ${error.limitMs / 1000} seconds`;
      throw new KubernetesError(
        "connection",
        `${message}; ${adviceFor(server) ?? "check the network between this node and it"}`,
        {
          cause: error,
        },
      );
    }
  }

  /** Yields the body as it arrives. Connection errors are converted here, so errors of the reader stay unchanged. */
  async *#chunks(
    request: ConnectionRequest,
    server: Server,
    response: http.IncomingMessage,
    silenceMs: number,
    abort: () => void,
  ): AsyncGenerator<Uint8Array> {
    let isSilent = false;
    const timer = new SilenceTimer(this.#clock, silenceMs, () => {
      isSilent = true;
      abort();
    });
    try {
      for await (const bytes of response as AsyncIterable<Uint8Array>) {
        timer.touch();
        yield bytes;
      }
    } catch (cause) {
      if (!isSilent) throw this.#broken(request, server, cause);
      const message = `${subject(request, server)}: no data for ${Math.round(silenceMs / 1000)} seconds`;
      throw new KubernetesError("silence", `${message}; the connection is probably dead; reconnecting`, {
        cause,
      });
    } finally {
      timer.stop();
    }
  }

  async #target(request: ConnectionRequest): Promise<Target> {
    try {
      this.#config ??= this.#access.load();
      const cluster = this.#config.getCurrentCluster();
      if (cluster === null) throw new Error("its current-context names no cluster");
      const given: https.RequestOptions = {};
      await this.#config.applyToHTTPSOptions(given);
      const server = this.#ring.pick((this.#access.servers ?? configuredServer)(this.#config));
      const url = new URL(server.url + request.path);
      const { agent, headers = {}, ...options } = given;
      return {
        server,
        url,
        options: {
          ...options,
          ...(server.tlsName !== undefined && { servername: server.tlsName }),
          method: request.method,
          headers: { ...cleanHeaders(headers as http.OutgoingHttpHeaders), ...headersOf(request) },
          // The library keeps its agent permanently, with the certificates of its first use. It is needed only for a
          // proxy. weft's agents use the certificates of each request, so renewed ones take effect.
          agent: cluster.proxyUrl ? agent : this.#agents[url.protocol === "http:" ? "http:" : "https:"],
        },
      };
    } catch (cause) {
      this.#config = undefined;
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new KubernetesError(
        "credentials",
        `${request.operation}: the credentials for the API server cannot be used: ${reason}; check --kubeconfig or ` +
          "the service account",
        { cause },
      );
    }
  }

  #refusal(request: ConnectionRequest, server: Server, response: http.IncomingMessage, body: string): KubernetesError {
    const { statusCode: status = 0, statusMessage = "" } = response;
    const said = statusText(body) ?? statusMessage;
    const advice = request.advice?.[status] ?? GENERAL_ADVICE[status];
    const message = `${subject(request, server)}: ${status} ${said}${advice === undefined ? "" : `; ${advice}`}`;
    const askedMs = Number(response.headers["retry-after"]) * 1000;
    return new KubernetesError("refused", message, {
      status,
      retryAfterMs: askedMs > 0 ? Math.min(askedMs, MAX_RETRY_AFTER_MS) : 0,
    });
  }

  #broken(request: ConnectionRequest, server: Server, cause: unknown): KubernetesError {
    const { code, message } = (cause instanceof SendError ? cause.cause : cause) as NodeJS.ErrnoException;
    const what = code && !message.includes(code) ? `${message} (${code})` : message;
    const general =
      code === "ECONNREFUSED" || code === "ENOTFOUND" ? "check that the API server runs at this address" : undefined;
    const advice = adviceFor(server) ?? general;
    this.#config = undefined;
    return new KubernetesError("connection", `${subject(request, server)}: ${what}${advice ? `; ${advice}` : ""}`, {
      cause,
    });
  }
}

/** The server of the configuration's current context. */
export function configuredServer(config: KubeConfig): readonly Server[] {
  const { server = "" } = config.getCurrentCluster() ?? {};
  return [{ url: serverUrl(server), origin: "configured" }];
}

function subject({ operation }: ConnectionRequest, { url }: Server): string {
  return `${operation} at ${url}`;
}

/** A ClusterIP may not answer because its rules are written by this process. */
function adviceFor({ origin }: Server): string | undefined {
  return origin === "service"
    ? "this is the ClusterIP, which works only after kube-proxy or weftd has written rules; name an API server by " +
        "--apiserver"
    : undefined;
}

function isUnsent(error: unknown): boolean {
  const { cause } = error as { cause?: unknown };
  return error instanceof KubernetesError && cause instanceof SendError && cause.isUnsent;
}

function isUnauthorized(error: unknown): boolean {
  return error instanceof KubernetesError && error.code === "refused" && error.status === 401;
}

async function readText(chunks: AsyncIterable<Uint8Array>): Promise<string> {
  const received: Uint8Array[] = [];
  for await (const chunk of chunks) received.push(chunk);
  return Buffer.concat(received).toString("utf8");
}

function headersOf({ body, accept = "application/json" }: ConnectionRequest): http.OutgoingHttpHeaders {
  const headers: http.OutgoingHttpHeaders = { Accept: accept, "User-Agent": "weftd" };
  if (body === undefined) return headers;
  return { ...headers, "Content-Type": body.mediaType, "Content-Length": Buffer.byteLength(body.text) };
}

/** Trims header values: token files often end in a newline, which a header must not contain. */
function cleanHeaders(headers: http.OutgoingHttpHeaders): http.OutgoingHttpHeaders {
  const entries = Object.entries(headers).map(([name, value]) => [
    name,
    typeof value === "string" ? value.trim() : value,
  ]);
  return Object.fromEntries(entries) as http.OutgoingHttpHeaders;
}

/** Returns the message if `body` is a Status object. */
function statusText(body: string): string | undefined {
  try {
    const { message } = JSON.parse(body) as { message?: unknown };
    return typeof message === "string" ? message : undefined;
  } catch {
    return undefined;
  }
}
