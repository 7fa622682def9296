import { beforeEach, expect, test } from "vitest";
import type { HttpAnswer } from "../../core/http-server.ts";
import { healthzAnswer, livezAnswer, serviceAnswer } from "./health-answers.ts";
import { HEALTH_TIMEOUT_MS, ProxyHealth } from "./proxy-health.ts";
import { recordedAnswers } from "./recorded.ts";

const DAY = Date.parse("2026-11-30T03:17:40.000Z");
const [HEALTHZ, LIVEZ, WITH_LOCAL, WITHOUT_LOCAL] = recordedAnswers();
let nowMs: number;
let health: ProxyHealth;

beforeEach(() => {
  nowMs = 100_000;
  health = new ProxyHealth({ nowMs: () => nowMs, dateMs: () => DAY + nowMs });
});

/** Field names in order, including those of nested objects. */
function shape(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return typeof value;
  return Object.entries(value).map(([key, part]) => [key, shape(part)]);
}

const headersOf = ({ contentType = "", headers = {} }: HttpAnswer) => ({ "Content-Type": contentType, ...headers });
const timesOf = (text: string) => text.replaceAll(/"\d{4}-[^"]*Z"/g, '"TIME"');

test.each([
  ["/healthz", HEALTHZ, () => healthzAnswer(health.report(), true)],
  ["/livez", LIVEZ, () => livezAnswer(health.report())],
])("%s equals kube-proxy's answer, field by field", (_path, recorded, ask) => {
  health.updated([4, 6], nowMs);
  const answer = ask();
  expect(answer.status).toBe(recorded?.status);
  expect(headersOf(answer)).toEqual(recorded?.headers);
  expect(shape(JSON.parse(answer.body))).toEqual(shape(JSON.parse(recorded?.body ?? "")));
  expect(timesOf(answer.body)).toBe(timesOf(recorded?.body ?? ""));
});

test.each([
  ["one local endpoint", WITH_LOCAL, 1],
  ["no local endpoint", WITHOUT_LOCAL, 0],
])("the answer of a health check port with %s equals kube-proxy's, byte by byte", (_name, recorded, localEndpoints) => {
  const answer = serviceAnswer({ service: "rec/lb-local", port: 30_206, localEndpoints }, true);
  expect(answer).toMatchObject({ status: recorded?.status, body: recorded?.body });
  expect(headersOf(answer)).toEqual(recorded?.headers);
});

test("a health check port is unhealthy while the proxy lags behind", () => {
  const answer = serviceAnswer({ service: "rec/lb-local", port: 30_206, localEndpoints: 2 }, false);
  expect(answer.status).toBe(503);
  expect(JSON.parse(answer.body)).toMatchObject({ localEndpoints: 2, serviceProxyHealthy: false });
  expect(answer.headers).toMatchObject({ "X-Load-Balancing-Endpoint-Weight": "2" });
});

test("before the first sync the report is healthy, and the families' times are Go's zero time", () => {
  const { healthy, lastUpdated, currentTime, status } = health.report();
  expect({ healthy, status }).toEqual({
    healthy: true,
    status: {
      IPv4: { lastUpdated: "0001-01-01T00:00:00Z", healthy: true },
      IPv6: { lastUpdated: "0001-01-01T00:00:00Z", healthy: true },
    },
  });
  expect(lastUpdated).toBe(currentTime);
});

test("a change that waits for twice the sync period makes both unhealthy, and its sync makes them healthy again", () => {
  health.updated([4], nowMs - 5000);
  health.queued(nowMs);
  nowMs += HEALTH_TIMEOUT_MS - 1;
  expect([healthzAnswer(health.report(), true).status, livezAnswer(health.report()).status]).toEqual([200, 200]);
  nowMs += 1;
  expect([healthzAnswer(health.report(), true).status, livezAnswer(health.report()).status]).toEqual([503, 503]);
  // It then reports the time of the last sync instead of the current time.
  const { lastUpdated, status } = health.report();
  expect(lastUpdated).toBe(new Date(DAY + 95_000).toISOString());
  expect(status).toMatchObject({ IPv4: { healthy: false, lastUpdated }, IPv6: { healthy: false } });
  health.queued(undefined);
  expect(livezAnswer(health.report()).status).toBe(200);
});

test("a node that is being removed fails /healthz, and passes /livez", () => {
  const { status, body } = healthzAnswer(health.report(), false);
  expect({ status, body: JSON.parse(body) }).toMatchObject({
    status: 503,
    body: { nodeEligible: false, healthy: true },
  });
  expect(livezAnswer(health.report()).status).toBe(200);
});
