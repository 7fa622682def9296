import { afterEach, beforeEach, expect, test } from "vitest";
import { ManualClock } from "../../pkg/cluster/manual-clock.ts";
import { ControllerState } from "./controller-state.ts";
import { CONDITIONS, Health } from "./health.ts";
import { Metrics } from "./metrics.ts";
import { isLoopback, type StatusServer, serveStatus } from "./status-server.ts";

const clock = new ManualClock();
let health: Health;
let metrics: Metrics;
let server: StatusServer;
const parts = () => ({
  ...{ health, metrics, debugState: async () => '{"aim":null}\n' },
  debugPage: async (name: string, query: URLSearchParams) =>
    name === "services" ? `{"service":"${query.get("service")}"}\n` : undefined,
});

beforeEach(async () => {
  health = new Health(clock);
  metrics = new Metrics({ addressUse: async () => [{ subnet: "10.244.1.0/24", used: 7, capacity: 253 }] });
  server = await serveStatus({ host: "127.0.0.1", port: 0 }, parts());
});
afterEach(() => server.close());

async function get(path: string, method = "GET"): Promise<{ status: number; body: string }> {
  const response = await fetch(`http://127.0.0.1:${server.port}${path}`, { method });
  return { status: response.status, body: await response.text() };
}

test("/readyz answers 503 with the reasons, and 200 when ready", async () => {
  expect(await get("/readyz")).toEqual({ status: 503, body: expect.stringContaining("[-] subnet: not tried yet") });
  for (const condition of CONDITIONS) health.holds(condition, "fine");
  expect(await get("/readyz?verbose")).toEqual({ status: 200, body: expect.stringMatching(/^ready\n/) });
});

test("/healthz answers independently of /readyz", async () => {
  expect((await get("/healthz")).status).toBe(200);
  const state = new ControllerState("peers", clock);
  health.shows(() => [state.report()]);
  state.begins(["nodes"]);
  clock.advance(61_000);
  expect(await get("/healthz")).toEqual({ status: 503, body: expect.stringContaining("[-] pass") });
});

test("/metrics has weftd's counters and the process metrics", async () => {
  metrics.programmingLatency.observe(0.004);
  metrics.changes.inc({ request: "RTM_NEWROUTE" }, 3);
  const { body } = await get("/metrics");
  expect(body).toContain('weft_programming_latency_seconds_bucket{le="0.005"} 1');
  expect(body).toContain('weft_kernel_changes_total{request="RTM_NEWROUTE"} 3');
  expect(body).toContain('weft_reconcile_passes_total{result="failure"} 0');
  expect(body).toContain('weft_ipam_addresses_in_use{subnet="10.244.1.0/24"} 7');
  expect(body).toContain('weft_ipam_addresses{subnet="10.244.1.0/24"} 253');
  expect(body).toMatch(/^process_resident_memory_bytes \d{7,}$/m);
});

test("/debug/state answers clients on this node only", async () => {
  expect(await get("/debug/state")).toEqual({ status: 200, body: '{"aim":null}\n' });
});

test("/debug/NAME answers with a controller's page and passes the query", async () => {
  expect(await get("/debug/services?service=a/b")).toEqual({ status: 200, body: '{"service":"a/b"}\n' });
  expect((await get("/debug/others")).status).toBe(404);
});

test.each([
  ["127.0.0.1", true],
  ["127.8.8.8", true],
  ["::1", true],
  ["::ffff:127.0.0.1", true],
  ["192.0.2.1", false],
  ["::ffff:192.0.2.127", false],
  ["fe80::1", false],
])("isLoopback of %s is %s", (address, expected) => {
  expect(isLoopback(address)).toBe(expected);
});

test("other paths and methods are refused", async () => {
  expect(await get("/")).toEqual({ status: 404, body: expect.stringContaining("/readyz") });
  expect((await get("/metrics", "POST")).status).toBe(405);
  expect(await get("/healthz", "HEAD")).toEqual({ status: 200, body: "" });
});

test("the error for an address in use names the flag", async () => {
  await expect(serveStatus({ host: "127.0.0.1", port: server.port }, parts())).rejects.toThrow(
    /EADDRINUSE.*--metrics-address/,
  );
});
