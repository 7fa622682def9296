/** HTTP for probes, Prometheus and operators: /healthz, /readyz, /metrics, /debug/state and pages of single controllers. */
import http from "node:http";
import type { ListenAddress } from "../options.ts";
import type { Health, Report } from "./health.ts";
import type { Metrics } from "./metrics.ts";

export interface StatusServer {
  /** The port in use (the one asked for, unless that was 0). */
  readonly port: number;
  close(): Promise<void>;
}

export interface StatusParts {
  readonly health: Health;
  readonly metrics: Metrics;
  /** What /debug/state shows, as JSON. */
  readonly debugState: () => Promise<string>;
  /** What /debug/NAME shows for a query, as JSON; undefined where there is no such page. */
  readonly debugPage?: (name: string, query: URLSearchParams) => Promise<string | undefined>;
}

interface Answer {
  readonly status: number;
  readonly contentType?: string;
  readonly body: string;
}

/** Rejects when the address cannot be used. */
export function serveStatus(listen: ListenAddress, parts: StatusParts): Promise<StatusServer> {
  const server = http.createServer((request, response) => {
    void answer(request, parts)
      .catch((error: unknown): Answer => ({ status: 500, body: `${String(error)}\n` }))
      .then(({ status, contentType = "text/plain; charset=utf-8", body }) => {
        const length = Buffer.byteLength(body);
        response.writeHead(status, { "Content-Type": contentType, "Content-Length": length });
        response.end(request.method === "HEAD" ? undefined : body);
      });
  });
  return new Promise((resolve, reject) => {
    server.once("error", (cause) => {
      const where = `${listen.host ?? ""}:${listen.port}`;
      reject(
        new Error(`serve health and metrics at ${where}: ${cause.message}; choose another --metrics-address`, {
          cause,
        }),
      );
    });
    server.listen({ port: listen.port, host: listen.host }, () => {
      const address = server.address();
      const port = typeof address === "object" && address !== null ? address.port : listen.port;
      resolve({ port, close: () => close(server) });
    });
  });
}

async function answer(request: http.IncomingMessage, parts: StatusParts): Promise<Answer> {
  const { health, metrics } = parts;
  if (request.method !== "GET" && request.method !== "HEAD") return { status: 405, body: "only GET and HEAD\n" };
  const [path = "", query = ""] = (request.url ?? "").split("?", 2);
  switch (path) {
    case "/healthz":
      return reportAnswer(health.liveness());
    case "/readyz":
      return reportAnswer(health.readiness());
    case "/metrics":
      return { status: 200, contentType: metrics.contentType, body: await metrics.text() };
    default:
      if (path.startsWith(DEBUG)) return debugAnswer(request, path.slice(DEBUG.length), query, parts);
      return NOT_FOUND;
  }
}

const DEBUG = "/debug/";
const NOT_FOUND: Answer = { status: 404, body: "there are /healthz, /readyz, /metrics and /debug/state\n" };

async function debugAnswer(
  request: http.IncomingMessage,
  name: string,
  query: string,
  { debugState, debugPage }: StatusParts,
): Promise<Answer> {
  // They name every node and its addresses: nothing for whoever can reach the port.
  if (!isLoopback(request.socket.remoteAddress ?? "")) return { status: 403, body: "only from this node itself\n" };
  const body = name === "state" ? await debugState() : await debugPage?.(name, new URLSearchParams(query));
  return body === undefined ? NOT_FOUND : { status: 200, contentType: "application/json", body };
}

/** An IPv4 client of a socket for both families shows up as ::ffff:127.0.0.1. */
export function isLoopback(address: string): boolean {
  return address === "::1" || /^(::ffff:)?127\./.test(address);
}

function reportAnswer({ isGood, text }: Report): Answer {
  return { status: isGood ? 200 : 503, body: text };
}

function close(server: http.Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
