/** weftd's HTTP endpoints: /healthz, /readyz, /metrics, /debug/state, and pages of single controllers. */
import type { ListenAddress } from "../flag.ts";
import type { Health, Report } from "./health.ts";
import { type HttpAnswer, type HttpQuestion, type HttpServer, listenText, serveHttp } from "./http-server.ts";
import type { Metrics } from "./metrics.ts";

export type StatusServer = HttpServer;

export interface StatusParts {
  readonly health: Health;
  readonly metrics: Metrics;
  /** Returns the answer of /debug/state, as JSON. */
  readonly debugState: () => Promise<string>;
  /** Returns the answer of /debug/NAME to a query, as JSON; undefined if there is no such page. */
  readonly debugPage?: (name: string, query: URLSearchParams) => Promise<string | undefined>;
}

/** Rejects if the address cannot be used. */
export async function serveStatus(listen: ListenAddress, parts: StatusParts): Promise<StatusServer> {
  try {
    return await serveHttp(listen, (question) => answer(question, parts));
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    const where = listenText(listen);
    throw new Error(`serve health and metrics at ${where}: ${reason}; choose another --metrics-address`, { cause });
  }
}

async function answer(question: HttpQuestion, parts: StatusParts): Promise<HttpAnswer> {
  const { path } = question;
  const { health, metrics } = parts;
  switch (path) {
    case "/healthz":
      return reportAnswer(health.liveness());
    case "/readyz":
      return reportAnswer(health.readiness());
    case "/metrics":
      return { status: 200, contentType: metrics.contentType, body: await metrics.text() };
    default:
      if (path.startsWith(DEBUG)) return debugAnswer(question, parts);
      return NOT_FOUND;
  }
}

const DEBUG = "/debug/";
const NOT_FOUND: HttpAnswer = {
  status: 404,
  body: "not found; available: /healthz, /readyz, /metrics and /debug/state\n",
};

async function debugAnswer(
  { path, query, remoteAddress }: HttpQuestion,
  { debugState, debugPage }: StatusParts,
): Promise<HttpAnswer> {
  // These pages list every node with its addresses, so only clients on this node may read them.
  if (!isLoopback(remoteAddress)) return { status: 403, body: "only clients on this node may read this page\n" };
  const name = path.slice(DEBUG.length);
  const body = name === "state" ? await debugState() : await debugPage?.(name, query);
  return body === undefined ? NOT_FOUND : { status: 200, contentType: "application/json", body };
}

/** True for a loopback address. A socket for both families shows an IPv4 client as ::ffff:127.0.0.1. */
export function isLoopback(address: string): boolean {
  return address === "::1" || /^(::ffff:)?127\./.test(address);
}

function reportAnswer({ isGood, text }: Report): HttpAnswer {
  return { status: isGood ? 200 : 503, body: text };
}
