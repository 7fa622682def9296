/**
 * HTTP to the API server: credentials and TLS by `@kubernetes/client-node`'s KubeConfig, the rest by node:http(s).
 *
 * Only the library's config module is imported. Its main entry loads a thousand generated models, and its own watch
 * cuts a connection after 30 seconds whatever comes through it.
 */
import http from "node:http";
import https from "node:https";
import type { KubeConfig } from "@kubernetes/client-node/dist/config.js";
import { type Clock, SilenceTimer } from "./clock.ts";
import { type Advice, GENERAL_ADVICE, KubernetesError } from "./errors.ts";
import { SendError, send } from "./send.ts";
import { type Server, ServerRing, serverUrl } from "./servers.ts";

/** Who this process is at the API server, and which servers it may ask. */
export interface Access {
  /** Reads credentials and the authority that servers' certificates are checked with. Throws where there are none. */
  readonly load: () => KubeConfig;
  /** The servers to ask, in the order of preference. Default: the one of the configuration. */
  readonly servers?: (config: KubeConfig) => readonly Server[];
  /** Another server than before has answered. Must not throw. */
  readonly onServer?: (server: Server) => void;
}

export interface ConnectionRequest {
  /** What is attempted, for error messages: "list nodes". */
  readonly operation: string;
  readonly method: "GET" | "PATCH" | "POST";
  /** Path with query, below the server's own path. */
  readonly path: string;
  readonly body?: { readonly mediaType: string; readonly text: string };
  /** The form of the answer. Default: JSON, the whole object. */
  readonly accept?: string;
  /** What an operator can do about a refusal of this request. */
  readonly advice?: Advice;
}

export interface StreamHandlers {
  /** The server accepted the request; the stream has begun. */
  onOpen(): void;
  /** May throw: the stream is then cut, and `stream` rejects with what was thrown. */
  onBytes(bytes: Uint8Array): void;
}

/** Gives up when an answer does not begin, or does not go on, for this long. */
const ANSWER_SILENCE_MS = 30_000;

/** A server may ask for patience, but not for being forgotten. */
const MAX_RETRY_AFTER_MS = 60_000;

/**
 * When TCP begins to ask whether the other side is still there, on a connection that carries nothing. libuv has it ask
 * ten times, a second apart: a half-open connection is found after 25 seconds.
 */
const TCP_PROBE_MS = 15_000;

/** Where and how one attempt is made. */
interface Target {
  readonly server: Server;
  readonly url: URL;
  readonly options: https.RequestOptions;
}

/**
 * One cluster and one pool of connections, for any number of resources. HTTP/1.1: each open watch holds a TCP connection
 * of its own, all other requests take turns on those that are idle.
 *
 * A server that cannot be connected to is left for the next one at once, in the same request. One that does not answer, or
 * answers 500 and above, is left by the requests that follow: the one that failed may have been carried out.
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
   * `access.load` is called again after a connection that failed and at a 401, which is answered by one more attempt at
   * once: tokens, certificates and the server's authority are renewed while this process runs.
   */
  constructor(access: Access, clock: Clock) {
    this.#access = access;
    this.#ring = new ServerRing(access.onServer);
    this.#clock = clock;
  }

  /** The whole answer as parsed JSON. Throws `KubernetesError`, also for every status from 300 on. */
  async request(request: ConnectionRequest, signal?: AbortSignal): Promise<unknown> {
    const text = await this.#exchange(request, ANSWER_SILENCE_MS, signal, readText);
    try {
      return JSON.parse(text);
    } catch (cause) {
      throw new KubernetesError("protocol", `${request.operation}: the answer is not JSON`, { cause });
    }
  }

  /**
   * Resolves when the server has ended the answer in the regular way. `silenceMs`: how long the answer, once begun,
   * may carry nothing. Throws as `request` does, and whatever a handler throws.
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
   * Ends all connections, those in use too: their requests fail, a watch goes on by a new one. For a host whose address
   * has changed: nothing comes by the old one any more, and the server may not say so.
   */
  reconnect(): void {
    this.close();
  }

  /** Ends all connections. */
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

  /** Sends, and resolves with the head of the answer. A server that does not even begin to answer is unreachable. */
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
      const what = error.isUnsent ? "no connection within" : "no answer for";
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

  /** The body as it comes. Failures of the connection are named here, so that those of its reader stay what they are. */
  async *#chunks(
    request: ConnectionRequest,
    server: Server,
    response: http.IncomingMessage,
    silenceMs: number,
    abort: () => void,
  ): AsyncGenerator<Uint8Array> {
    let silent = false;
    const timer = new SilenceTimer(this.#clock, silenceMs, () => {
      silent = true;
      abort();
    });
    try {
      for await (const bytes of response as AsyncIterable<Uint8Array>) {
        timer.touch();
        yield bytes;
      }
    } catch (cause) {
      if (!silent) throw this.#broken(request, server, cause);
      const message = `${subject(request, server)}: nothing heard for ${Math.round(silenceMs / 1000)} seconds`;
      throw new KubernetesError("silence", `${message}; the connection seems to be dead somewhere on its way`, {
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
          // The library keeps its agent for good, with the certificates of its first use. It is needed only for a
          // proxy; ours takes the certificates of each request, so that renewed ones take effect.
          agent: cluster.proxyUrl ? agent : this.#agents[url.protocol === "http:" ? "http:" : "https:"],
        },
      };
    } catch (cause) {
      this.#config = undefined;
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new KubernetesError(
        "credentials",
        `${request.operation}: the credentials for the API server cannot be used: ${reason}; check --kubeconfig or the service account`,
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
      code === "ECONNREFUSED" || code === "ENOTFOUND" ? "check that the API server runs there" : undefined;
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

/** A ClusterIP that does not answer may wait for this very process. */
function adviceFor({ origin }: Server): string | undefined {
  return origin === "service"
    ? "that is the ClusterIP, which leads nowhere before kube-proxy or weftd has written rules; name an API server by --apiserver"
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

/** Token files often end in a newline, which no header may hold. */
function cleanHeaders(headers: http.OutgoingHttpHeaders): http.OutgoingHttpHeaders {
  const entries = Object.entries(headers).map(([name, value]) => [
    name,
    typeof value === "string" ? value.trim() : value,
  ]);
  return Object.fromEntries(entries) as http.OutgoingHttpHeaders;
}

/** The message of a Status object, if `body` is one. */
function statusText(body: string): string | undefined {
  try {
    const { message } = JSON.parse(body) as { message?: unknown };
    return typeof message === "string" ? message : undefined;
  } catch {
    return undefined;
  }
}
