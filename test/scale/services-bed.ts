/**
 * One weftd with many Services: objects in the test API server, real nftables on a real kernel. No server is behind the
 * endpoints.
 */

import { join } from "node:path";
import type { PoliciesPage } from "../../command/node/policies-page.ts";
import { Cleanup } from "../live/harness/cleanup.ts";
import { Cluster, ECHO_PORT, type Node, type Pod } from "../live/harness/cluster.ts";
import { succeed } from "../live/harness/command.ts";
import { makeFolder } from "../live/harness/folder.ts";
import { eventually } from "../live/harness/process.ts";
import { ServiceObjects } from "../live/harness/services.ts";
import { populationService, populationSlice } from "../services/population.ts";
import { peer } from "./peers.ts";
import { WeftdProcess } from "./weftd-process.ts";

/** A Service with a real server. */
const STEADY = "10.97.0.1";
/** A connection that takes this long has lost its first packet: the kernel repeats it after a second (RFC 6298). */
const LOST_NS = 900_000_000;

/** Objects in one control request. */
const BATCH = 500;
const SETTLE_MS = 120_000;
/** By then weftd has collected the garbage of its start. */
const GARBAGE_MS = 5000;

/** The last sync on weftd's debug page. */
interface Page {
  readonly isSynced: boolean;
  readonly counts: { readonly services: number; readonly frontends: number };
  readonly lastSync?: { readonly kind: string; readonly durationMs: number; readonly requests?: number };
}

export interface Churn {
  readonly settledMs: number;
  /** Number of syncs for the changes. */
  readonly syncs: number;
  /** Connections to an unchanged Service during the changes. */
  readonly connections: number;
  readonly failed: number;
  readonly lostPackets: number;
}

/** A bucket of weftd's histogram. */
export const FLIP_LIMIT_SECONDS = 0.01;
const FLIP_PAUSE_MS = 25;

export interface Flips {
  readonly changes: number;
  readonly meanMs: number;
  /** Share (0 to 1) of flips that took at most FLIP_LIMIT_SECONDS. */
  readonly shareInTime: number;
}

export interface Start {
  /** Comparing and writing, without the lists. */
  readonly syncMs: number;
  readonly requests: number;
}

export class ServicesScale {
  readonly #cleanup: Cleanup;
  readonly #cluster: Cluster;
  readonly #node: Node;
  readonly #client: Pod;
  readonly #connect: string;
  #services = 0;
  #endpoints = 0;
  readonly #flipped = new Set<number>();

  private constructor(cleanup: Cleanup, cluster: Cluster, node: Node, client: Pod, connect: string) {
    this.#cleanup = cleanup;
    this.#cluster = cluster;
    this.#node = node;
    this.#client = client;
    this.#connect = connect;
  }

  /** In a cluster with `peers` other Nodes. `environment`: more variables of weftd. */
  static async make(peers: number, environment: Readonly<Record<string, string>> = {}): Promise<ServicesScale> {
    const cleanup = new Cleanup();
    try {
      const cluster = await Cluster.start("vxlan", cleanup, { logLevel: "info" });
      await cluster.standIn({ create: Array.from({ length: peers }, (_, n) => peer(n, "ipv4")) });
      cluster.weftdEnvironment = { WEFTD_SERVICE_PROXY: "nftables", ...environment };
      const node = await cluster.addNode(1);
      const client = await cluster.addPod(node, "client");
      const server = await cluster.addPod(node, "server");
      const objects = new ServiceObjects(cluster);
      await objects.create("steady", { clusterIP: STEADY, clusterIPs: [STEADY] });
      await objects.createSlice("steady", ECHO_PORT, [{ address: server.address, node: node.name }]);
      await eventually(() => client.inside.seenBy(STEADY, 80));
      const connect = join(makeFolder("scale", cleanup), "connect");
      await succeed("gcc", ["-O2", "-o", connect, join(import.meta.dirname, "../bench/services/connect.c")]);
      return new ServicesScale(cleanup, cluster, node, client, connect);
    } catch (error) {
      await cleanup.run();
      throw error;
    }
  }

  close(): Promise<void> {
    return this.#cleanup.run();
  }

  /** Sets the number of Services in the API server. weftd is stopped meanwhile. */
  async populate(services: number, endpoints: number): Promise<void> {
    await this.#node.weftd.stop("SIGTERM");
    const wanted = Array.from({ length: services - this.#services }, (_, at) => this.#services + at);
    const teams = this.#services > 0 ? [] : Array.from({ length: NAMESPACES }, (_, n) => namespaceOf(n));
    await this.#cluster.standIn({
      ask: teams.map((name) => ({ method: "POST", target: "/api/v1/namespaces", body: { metadata: { name } } })),
    });
    const ask = wanted.flatMap((n) => [
      { method: "POST", target: `/api/v1/namespaces/${namespaceOf(n)}/services`, body: { ...populationService(n) } },
      { method: "POST", target: slicesOf(n), body: { ...populationSlice(n, endpoints) } },
    ]);
    for (let at = 0; at < ask.length; at += BATCH) await this.#cluster.standIn({ ask: ask.slice(at, at + BATCH) });
    [this.#services, this.#endpoints] = [services, endpoints];
  }

  /** Starts weftd on a kernel without a table of Services, or with the existing one. */
  async start(isCold: boolean): Promise<Start> {
    const { weftd, inside } = this.#node;
    await weftd.stop("SIGTERM");
    if (isCold) await inside.run("nft", ["delete", "table", "inet", "weft-services"]);
    this.#cluster.restartWeftd(this.#node);
    const { lastSync } = await eventually(async () => {
      const page = await this.#page();
      if (!page.isSynced || page.counts.services <= this.#services || page.lastSync === undefined)
        throw new Error(`${JSON.stringify(page)} of ${this.#services} Services:\n${this.#node.weftd.output}`);
      return page;
    }, SETTLE_MS);
    await new Promise((resolve) => setTimeout(resolve, GARBAGE_MS));
    return { syncMs: lastSync?.durationMs ?? Number.NaN, requests: lastSync?.requests ?? 0 };
  }

  /**
   * The time from the arrival of `count` single changes to their commits. Reads weftd's metrics only before and after:
   * reading takes time that grows with the number of Services.
   */
  async flips(count: number): Promise<Flips> {
    const before = await this.#latency();
    for (let flip = 0; flip < count; flip++) {
      await this.#cluster.standIn({ ask: [this.#flip((flip * 7919) % this.#services)] });
      await new Promise((resolve) => setTimeout(resolve, FLIP_PAUSE_MS));
    }
    const after = await this.#latency();
    const changes = after.count - before.count;
    return {
      changes,
      meanMs: (1000 * (after.seconds - before.seconds)) / changes,
      shareInTime: (after.inTime - before.inTime) / changes,
    };
  }

  /** Makes `perSecond` changes a second, and as many connections to an unchanged Service. */
  async churn(perSecond: number, seconds: number): Promise<Churn> {
    const before = await this.#latency();
    const connecting = this.#connections(perSecond, seconds);
    const [tickMs, beganMs] = [50, performance.now()];
    const perTick = (perSecond * tickMs) / 1000;
    for (let tick = 0; tick < (seconds * 1000) / tickMs; tick++) {
      const ask = Array.from({ length: perTick }, (_, at) => this.#flip((tick * perTick + at) % this.#services));
      await this.#cluster.standIn({ ask });
      const restMs = beganMs + (tick + 1) * tickMs - performance.now();
      if (restMs > 0) await new Promise((resolve) => setTimeout(resolve, restMs));
    }
    const lastMs = performance.now();
    let known = await this.#latency();
    await eventually(async () => {
      const now = await this.#latency();
      const isQuiet = now.count === known.count;
      known = now;
      if (!isQuiet) throw new Error("changes are still being programmed");
    }, SETTLE_MS);
    const settledMs = performance.now() - lastMs;
    return { settledMs, syncs: known.count - before.count, ...(await connecting) };
  }

  async #connections(perSecond: number, seconds: number) {
    const { inside } = this.#client;
    let [connections, lostPackets] = [0, 0];
    for (const beganMs = performance.now(); performance.now() < beganMs + 1000 * seconds; ) {
      const round = (connections / perSecond) * 1000;
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, beganMs + round - performance.now())));
      const { stdout } = await inside.run(this.#connect, [String(perSecond / 10), STEADY]);
      const times = stdout
        .trim()
        .split("\n")
        .map((line: string) => Number(line.split(" ")[1]));
      connections += perSecond / 10;
      lostPackets += times.filter((ns: number) => ns > LOST_NS).length;
      if (times.length < perSecond / 10) return { connections, lostPackets, failed: 1 };
    }
    return { connections, lostPackets, failed: 0 };
  }

  /** Creates objects in the API server. weftd is stopped meanwhile. */
  async create(objects: readonly { readonly target: string; readonly body: object }[]): Promise<void> {
    await this.#node.weftd.stop("SIGTERM");
    const ask = objects.map(({ target, body }) => ({ method: "POST", target, body: { ...body } }));
    for (let at = 0; at < ask.length; at += BATCH) await this.#cluster.standIn({ ask: ask.slice(at, at + BATCH) });
  }

  get nodeName(): string {
    return this.#node.name;
  }

  /** Merges `body` into an object. */
  async patch(target: string, body: object): Promise<void> {
    await this.#cluster.standIn({ ask: [{ method: "PATCH", target, body: { ...body } }] });
  }

  /** weftd's report of policies. */
  async policiesPage(): Promise<PoliciesPage> {
    const { body } = await this.#cluster.status(this.#node, "/debug/policies");
    return JSON.parse(body) as PoliciesPage;
  }

  /** The most memory that weftd's process has had. */
  async peakBytes(): Promise<number> {
    const { peakBytes } = await (await WeftdProcess.in(this.#node.namespace)).memory();
    return peakBytes;
  }

  async residentBytes(): Promise<number> {
    return this.#metric(/^process_resident_memory_bytes (\S+)$/m);
  }

  /** CPU time of weftd's process so far, in seconds. */
  async cpuSeconds(): Promise<number> {
    return this.#metric(/^process_cpu_seconds_total (\S+)$/m);
  }

  #flip(n: number) {
    if (!this.#flipped.delete(n)) this.#flipped.add(n);
    const { endpoints = null } = populationSlice(n, this.#endpoints, this.#flipped.has(n));
    return { method: "PATCH", target: `${slicesOf(n)}/service-${n}-x7k2p`, body: { endpoints } };
  }

  async #page(): Promise<Page> {
    const { body } = await this.#cluster.status(this.#node, "/debug/state");
    return (JSON.parse(body) as { services: Page }).services;
  }

  async #metric(pattern: RegExp): Promise<number> {
    return Number(pattern.exec(await this.metrics())?.[1] ?? Number.NaN);
  }

  async metrics(): Promise<string> {
    return (await this.#cluster.status(this.#node, "/metrics")).body;
  }

  async #latency(): Promise<{ readonly count: number; readonly seconds: number; readonly inTime: number }> {
    const body = await this.metrics();
    const value = (series: string) => {
      const line = body
        .split("\n")
        .find((each) => each.startsWith(`weft_service_programming_latency_seconds_${series} `));
      return Number(line?.split(" ")[1] ?? 0);
    };
    return { count: value("count"), seconds: value("sum"), inTime: value(`bucket{le="${FLIP_LIMIT_SECONDS}"}`) };
  }
}

/** As `populationService` names them. */
const NAMESPACES = 100;
const namespaceOf = (n: number) => `team-${n % NAMESPACES}`;
const slicesOf = (n: number) => `/apis/discovery.k8s.io/v1/namespaces/${namespaceOf(n)}/endpointslices`;
