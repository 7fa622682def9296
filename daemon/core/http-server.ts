/** An HTTP server for probes, Prometheus and operators. It answers GET and HEAD; each answer is made on request. */
import http from "node:http";
import type { ListenAddress } from "../flag.ts";

export interface HttpServer {
  /** The port in use. It equals the requested port unless that was 0. */
  readonly port: number;
  close(): Promise<void>;
}

export interface HttpAnswer {
  readonly status: number;
  /** [text/plain; charset=utf-8] */
  readonly contentType?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: string;
}

export interface HttpQuestion {
  readonly path: string;
  /** The parameters after the question mark. */
  readonly query: URLSearchParams;
  readonly remoteAddress: string;
}

/** Answers one GET. If it throws, the response has status 500 and the error as its body. */
export type Answering = (question: HttpQuestion) => HttpAnswer | Promise<HttpAnswer>;

/**
 * Some of these servers listen on all addresses of the node. Limits on a request's time and on open connections keep a
 * client from using up weftd's memory or file descriptors.
 */
const REQUEST_LIMIT_MS = 10_000;
const CHECK_MS = 2000;
const MOST_CONNECTIONS = 256;

/** Rejects with Node.js's error (`code` EADDRINUSE, EACCES, ...) if the address cannot be used. */
export function serveHttp(
  listen: ListenAddress,
  answering: Answering,
  { requestLimitMs = REQUEST_LIMIT_MS, checkMs = CHECK_MS, mostConnections = MOST_CONNECTIONS } = {},
): Promise<HttpServer> {
  const limits = {
    headersTimeout: requestLimitMs,
    requestTimeout: requestLimitMs,
    connectionsCheckingInterval: checkMs,
  };
  const server = http.createServer(limits, (request, response) => {
    void answer(request, answering)
      .catch((error: unknown): HttpAnswer => ({ status: 500, body: `${String(error)}\n` }))
      .then(({ status, contentType = "text/plain; charset=utf-8", headers = {}, body }) => {
        const length = Buffer.byteLength(body);
        response.writeHead(status, { "Content-Type": contentType, "Content-Length": length, ...headers });
        response.end(request.method === "HEAD" ? undefined : body);
      });
  });
  server.maxConnections = mostConnections;
  return new Promise((resolve, reject) => {
    // This listener remains: a later error of accept() must not end weftd.
    server.on("error", reject);
    server.listen({ port: listen.port, host: listen.host }, () => {
      const address = server.address();
      const port = typeof address === "object" && address !== null ? address.port : listen.port;
      resolve({ port, close: () => close(server) });
    });
  });
}

/** Formats as "127.0.0.1:9468", or ":9468" for all addresses. */
export function listenText({ host = "", port }: ListenAddress): string {
  return `${host.includes(":") ? `[${host}]` : host}:${port}`;
}

async function answer(request: http.IncomingMessage, answering: Answering): Promise<HttpAnswer> {
  if (request.method !== "GET" && request.method !== "HEAD") return { status: 405, body: "only GET and HEAD\n" };
  const [path = "", query = ""] = (request.url ?? "").split("?", 2);
  return answering({ path, query: new URLSearchParams(query), remoteAddress: request.socket.remoteAddress ?? "" });
}

function close(server: http.Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
