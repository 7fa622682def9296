/**
 * Runs the controller with fake HTTP servers that only record where they listen. The choice of the proxy is also tested
 * on real sockets.
 */
import net from "node:net";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ManualClock } from "../../../pkg/cluster/manual-clock.ts";
import type { ClusterNode } from "../../../pkg/cluster/node/node.ts";
import { type Address, parseAddress } from "../../../pkg/ip/address.ts";
import { Health } from "../../core/health.ts";
import { type Answering, type HttpAnswer, listenText, type serveHttp } from "../../core/http-server.ts";
import { openLog } from "../../core/log.ts";
import { Facts } from "../../core/topic.ts";
import type { Happening } from "../../sources/events.ts";
import { type HealthCheckedService, PROXY_TURN, SERVICES_QUEUED, SERVICES_SEEN, SERVICES_SYNC } from "../facts.ts";
import { HEALTH_TIMEOUT_MS } from "./proxy-health.ts";
import { ServiceHealthController } from "./service-health.ts";
import { Turn } from "./turn.ts";

class Bench {
  readonly clock = new ManualClock();
  readonly facts = new Facts();
  readonly health = new Health(this.clock);
  readonly happenings: Happening[] = [];
  /** The served addresses. */
  readonly served = new Map<string, Answering>();
  /** Errors for addresses that cannot be served. */
  readonly refused = new Map<string, string>();
  readonly view: { own: ClusterNode | undefined } = { own: { isLeaving: false } as unknown as ClusterNode };
  isTaken = false;
  hasSign = false;
  later: number[] = [];
  readonly controller = new ServiceHealthController({
    healthzAddress: { host: undefined, port: 10_256 },
    proxyMetricsAddress: { host: "127.0.0.1", port: 10_249 },
    times: { nowMs: () => this.clock.nowMs(), dateMs: () => this.clock.nowMs() },
    ...{ facts: this.facts, health: this.health, view: this.view, log: openLog("fatal", "n1") },
    events: { report: (happening) => this.happenings.push(happening) },
    showSign: async () => {
      this.hasSign = true;
      return {
        close: async () => {
          this.hasSign = false;
        },
      };
    },
    isTaken: async () => this.isTaken,
    serve: this.#serve(),
  });

  #serve(): typeof serveHttp {
    return async (listen, answering) => {
      const place = listenText(listen);
      const code = this.refused.get(place) ?? (this.served.has(place) ? "EADDRINUSE" : undefined);
      if (code !== undefined) throw Object.assign(new Error(`listen ${code}: ${place}`), { code });
      this.served.set(place, answering);
      return { port: listen.port, close: async () => void this.served.delete(place) };
    };
  }

  pass(): Promise<void> {
    this.later = [];
    const later = (_reason: string, delayMs: number) => this.later.push(delayMs);
    const kernel = { snapshot: () => Promise.reject(new Error("the kernel is not asked")) };
    return this.controller.run({ reasons: [], kernel, later });
  }

  async get(place: string, path: string): Promise<HttpAnswer> {
    const answering = this.served.get(place);
    if (answering === undefined) throw new Error(`nothing is served at ${place}`);
    return await answering({ path, query: new URLSearchParams(), remoteAddress: "::1" });
  }

  sees(healthChecks: readonly HealthCheckedService[], nodePortAddresses?: readonly Address[]): void {
    const seen = { healthChecks, nodePortAddresses, withoutLocalEndpoints: [], serviceAt: () => undefined };
    this.facts.of(SERVICES_SEEN).publish(seen);
  }

  get turn(): boolean | undefined {
    return this.facts.of(PROXY_TURN).value?.isOurs;
  }

  get reasons(): readonly string[] {
    return this.happenings.map(({ reason }) => reason);
  }
}

let bench: Bench;
beforeEach(() => {
  bench = new Bench();
});

describe("the proxy of this node", () => {
  test("is weftd if the health port is free, and weftd then answers on it until it stops", async () => {
    await bench.pass();
    expect({ turn: bench.turn, reasons: bench.reasons, hasSign: bench.hasSign }).toEqual({
      ...{ turn: true, reasons: [], hasSign: true },
    });
    expect([...bench.served.keys()]).toEqual([":10256", "127.0.0.1:10249"]);
    await bench.controller.stop();
    expect({ served: [...bench.served.keys()], hasSign: bench.hasSign }).toEqual({ served: [], hasSign: false });
  });

  test.each(["answers", "uses the port"])(
    "is another process while that %s, which is reported once, and weftd when it ends",
    async (how) => {
      if (how === "answers") bench.isTaken = true;
      else bench.refused.set(":10256", "EADDRINUSE");
      for (let time = 0; time < 3; time++) {
        await bench.pass();
        expect({ turn: bench.turn, later: bench.later, served: bench.served.size }).toEqual({
          ...{ turn: false, later: [2000], served: 0 },
        });
      }
      expect(bench.reasons).toEqual(["KubeProxyRuns"]);
      expect(bench.happenings[0]?.message).toContain("delete daemonset kube-proxy");
      expect(bench.health.readiness().text).toContain("[!] Services: ");
      expect(bench.hasSign).toBe(false);

      bench.isTaken = false;
      bench.refused.clear();
      await bench.pass();
      expect({ turn: bench.turn, reasons: bench.reasons, hasSign: bench.hasSign }).toEqual({
        ...{ turn: true, reasons: ["KubeProxyRuns", "ServicesTakenOver"], hasSign: true },
      });
      expect(bench.health.readiness().text).not.toContain("[!] Services: ");
      await bench.pass();
      expect(bench.reasons).toHaveLength(2);
    },
  );

  test("is weftd even if the health address is invalid: Services do not wait for it", async () => {
    bench.refused.set(":10256", "EADDRNOTAVAIL");
    await expect(bench.pass()).rejects.toThrow(/EADDRNOTAVAIL.*--healthz-bind-address/);
    expect(bench.turn).toBe(true);
    bench.refused.clear();
    await bench.pass();
    expect(bench.served.has(":10256")).toBe(true);
  });

  test("is detected on the port of 127.0.0.1, regardless of the other process's address", async () => {
    const other = net.createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => other.once("listening", resolve));
    const { port } = other.address() as net.AddressInfo;
    const serve = () => Promise.reject(new Error("nothing may be served"));
    const turn = new Turn({ listen: { host: "192.0.2.1", port }, answering: () => ({ status: 200, body: "" }), serve });
    expect(await turn.take()).toBe(`127.0.0.1:${port} is answered by another process`);
    await new Promise((resolve) => other.close(resolve));
    await expect(turn.take()).rejects.toThrow("nothing may be served");
    expect(turn.isOurs).toBe(true);
  });

  test("is one process at a time on real sockets, regardless of the addresses used", async () => {
    const probe = net.createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => probe.once("listening", resolve));
    const { port } = probe.address() as net.AddressInfo;
    await new Promise((resolve) => probe.close(resolve));
    const options = { answering: () => ({ status: 200, body: "" }), isTaken: async () => false };
    const first = new Turn({ ...options, listen: { host: undefined, port } });
    const second = new Turn({ ...options, listen: { host: "127.0.0.1", port } });
    expect(await first.take()).toBeUndefined();
    expect(await second.take()).toBe(`127.0.0.1:${port} is in use by another process`);
    await first.close();
    expect(await second.take()).toBeUndefined();
    await second.close();
  });
});

test("stop also closes servers that a running pass opens", async () => {
  const pass = bench.pass();
  await bench.controller.stop();
  await pass;
  expect([...bench.served.keys()]).toEqual([]);
  expect(bench.hasSign).toBe(false);
});

describe("health", () => {
  const both = async () => [
    (await bench.get(":10256", "/healthz")).status,
    (await bench.get(":10256", "/livez")).status,
    (await bench.get(":10256", "/other")).status,
  ];

  test("follows the Node: missing, being deleted, or about to be scaled down", async () => {
    await bench.pass();
    expect(await both()).toEqual([200, 200, 404]);
    bench.view.own = { isLeaving: true } as unknown as ClusterNode;
    expect(await both()).toEqual([503, 200, 404]);
    bench.view.own = undefined;
    expect(await both()).toEqual([503, 200, 404]);
  });

  test("of a host that is not a node does not need a Node", async () => {
    const answered: Answering[] = [];
    const controller = new ServiceHealthController({
      ...{ healthzAddress: { host: undefined, port: 1 }, proxyMetricsAddress: undefined, hasNode: false },
      ...{ facts: bench.facts, health: bench.health, view: { own: undefined }, log: openLog("fatal", "n1") },
      ...{ times: { nowMs: () => 0, dateMs: () => 0 }, events: { report: () => undefined } },
      showSign: async () => ({ close: async () => undefined }),
      isTaken: async () => false,
      serve: async ({ port }, answering) => {
        answered.push(answering);
        return { port, close: async () => undefined };
      },
    });
    const kernel = { snapshot: () => Promise.reject(new Error("the kernel is not asked")) };
    await controller.run({ reasons: [], kernel, later: () => undefined });
    const question = { path: "/healthz", query: new URLSearchParams(), remoteAddress: "::1" };
    expect(await answered[0]?.(question)).toMatchObject({ status: 200 });
    await controller.stop();
  });

  test("follows waiting and programmed changes, and is counted", async () => {
    await bench.pass();
    bench.facts.of(SERVICES_QUEUED).publish({ sinceMs: bench.clock.nowMs(), services: 1, endpoints: 0 });
    bench.clock.advance(HEALTH_TIMEOUT_MS);
    expect(await both()).toEqual([503, 503, 404]);
    bench.facts.of(SERVICES_QUEUED).publish({ sinceMs: undefined, services: 0, endpoints: 0 });
    const atMs = bench.clock.nowMs();
    const sync = { kind: "full", isSuccess: true, atMs, durationMs: 1, families: [4], triggers: [] } as const;
    bench.facts.of(SERVICES_SYNC).publish({ ...sync, serviceChanges: 1, endpointChanges: 0 });
    expect(await both()).toEqual([200, 200, 404]);
    const { body } = await bench.get("127.0.0.1:10249", "/metrics");
    for (const line of [
      'kubeproxy_proxy_healthz_total{code="503"} 1',
      'kubeproxy_proxy_livez_total{code="200"} 1',
      "kubeproxy_sync_proxy_rules_service_changes_total 1",
    ]) {
      expect(body.split("\n")).toContain(line);
    }
  });

  test("/proxyMode is the mode's name without a newline", async () => {
    await bench.pass();
    expect(await bench.get("127.0.0.1:10249", "/proxyMode")).toEqual({ status: 200, body: "nftables" });
    expect(await bench.get("127.0.0.1:10249", "/healthz")).toEqual({ status: 200, body: "ok" });
    expect((await bench.get("127.0.0.1:10249", "/configz")).status).toBe(404);
  });

  test("metrics whose port is in use are served when it is free, and nothing else waits for them", async () => {
    bench.refused.set("127.0.0.1:10249", "EADDRINUSE");
    await bench.pass();
    expect({ turn: bench.turn, later: bench.later }).toEqual({ turn: true, later: [2000] });
    expect(bench.health.readiness().text).toContain("--proxy-metrics-bind-address");
    bench.refused.clear();
    await bench.pass();
    expect(bench.served.has("127.0.0.1:10249")).toBe(true);
    expect(bench.health.readiness().text).not.toContain("--proxy-metrics-bind-address");
  });
});

describe("health check ports", () => {
  const ADDRESSES = ["10.0.0.1", "2001:db8::1"].map(parseAddress);
  const service = (name: string, port: number, localEndpoints = 1) => ({ service: `ns/${name}`, port, localEndpoints });
  const ports = () => [...bench.served.keys()].filter((place) => !/:102(?:49|56)$/.test(place));

  test("are served at NodePorts' addresses, with the state at the time of the request", async () => {
    bench.sees([service("a", 30_001, 2)], ADDRESSES);
    await bench.pass();
    expect(ports()).toEqual(["10.0.0.1:30001", "[2001:db8::1]:30001"]);
    expect(await bench.get("10.0.0.1:30001", "/any")).toMatchObject({ status: 200 });
    bench.sees([service("a", 30_001, 0)], ADDRESSES);
    await bench.pass();
    expect(await bench.get("[2001:db8::1]:30001", "/")).toMatchObject({ status: 503 });
  });

  test("follow port, addresses and Services", async () => {
    bench.sees([service("a", 30_001), service("b", 30_002)]);
    await bench.pass();
    expect(ports()).toEqual([":30001", ":30002"]);
    // A Service takes the port that the other one had.
    bench.sees([service("b", 30_001)], ADDRESSES.slice(0, 1));
    await bench.pass();
    expect(ports()).toEqual(["10.0.0.1:30001"]);
    expect((await bench.get("10.0.0.1:30001", "/")).body).toContain('"name": "b"');
    bench.sees([]);
    await bench.pass();
    expect(ports()).toEqual([]);
    expect(bench.happenings).toEqual([]);
  });

  test("in use cause one Event, and are retried only for another port", async () => {
    bench.refused.set("[2001:db8::1]:30001", "EADDRINUSE");
    bench.sees([service("a", 30_001)], ADDRESSES);
    await bench.pass();
    // A port served at only some addresses counts as not served.
    expect(ports()).toEqual([]);
    expect(bench.reasons).toEqual(["FailedToStartServiceHealthcheck"]);
    expect(bench.happenings[0]?.message).toMatch(/^Service ns\/a: its health check port 30001 cannot be served at /);
    bench.refused.clear();
    bench.sees([service("a", 30_001, 5)], ADDRESSES);
    await bench.pass();
    expect(ports()).toEqual([]);
    bench.sees([service("a", 30_003)], ADDRESSES);
    await bench.pass();
    expect(ports()).toEqual(["10.0.0.1:30003", "[2001:db8::1]:30003"]);
    expect(bench.happenings).toHaveLength(1);
  });

  test("are not served while another process serves Services", async () => {
    bench.isTaken = true;
    bench.sees([service("a", 30_001)]);
    await bench.pass();
    expect(ports()).toEqual([]);
  });
});

afterEach(() => bench.controller.stop());
