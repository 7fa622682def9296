/** What weftd itself answers over HTTP: /healthz, /readyz, /metrics, /debug/state and pages of single controllers. */
import type { ListenAddress } from "../flag.ts";
import type { Health, Report } from "./health.ts";
import { type HttpAnswer, type HttpQuestion, type HttpServer, listenText, serveHttp } from "./http-server.ts";
import type { Metrics } from "./metrics.ts";

export type StatusServer = HttpServer;

export interface StatusParts {
  readonly health: Health;
  readonly metrics: Metrics;
  /** What /debug/state shows, as JSON. */
  readonly debugState: () => Promise<string>;
  /** What /debug/NAME shows for a query, as JSON; undefined where there is no such page. */
  readonly debugPage?: (name: string, query: URLSearchParams) => Promise<string | undefined>;
}

/** Rejects when the address cannot be used. */
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
const NOT_FOUND: HttpAnswer = { status: 404, body: "there are /healthz, /readyz, /metrics and /debug/state\n" };

async function debugAnswer(
  { path, query, remoteAddress }: HttpQuestion,
  { debugState, debugPage }: StatusParts,
): Promise<HttpAnswer> {
  // They name every node and its addresses, so only this node may read them.
  if (!isLoopback(remoteAddress)) return { status: 403, body: "only from this node itself\n" };
  const name = path.slice(DEBUG.length);
  const body = name === "state" ? await debugState() : await debugPage?.(name, query);
  return body === undefined ? NOT_FOUND : { status: 200, contentType: "application/json", body };
}

/** An IPv4 client of a socket for both families shows up as ::ffff:127.0.0.1. */
export function isLoopback(address: string): boolean {
  return address === "::1" || /^(::ffff:)?127\./.test(address);
}

function reportAnswer({ isGood, text }: Report): HttpAnswer {
  return { status: isGood ? 200 : 503, body: text };
}
