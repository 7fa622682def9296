/**
 * One weftd in a cluster with thousands of Nodes that exist only in the API server: weftd programs real entries on a
 * real device, but no machine answers behind them.
 */
import type { Sight } from "../apiserver/control.ts";
import type { NodeInput } from "../apiserver/resource.ts";
import { Cleanup } from "../live/harness/cleanup.ts";
import { Cluster, type Node } from "../live/harness/cluster.ts";
import { makeNamespace } from "../live/harness/namespace.ts";
import { eventually, Running } from "../live/harness/process.ts";
import { type Latencies, type NodeStep, timeSteps } from "./latency.ts";
import { FAMILIES, macOf, OVERLAYS, peer, type Stack, subnetsOf } from "./peers.ts";
import { type Memory, type Rest, WeftdProcess } from "./weftd-process.ts";

/** The resources of weftd's process. */
export interface Use {
  readonly residentBytes: number;
  readonly cpuSeconds: number;
  readonly passes: number;
}

export interface Programming {
  readonly nodes: number;
  /**
   * The time from the complete list to the end of the pass that programmed it, including the comparison and the node
   * table.
   */
  readonly weftdMs: number;
  /** The part of that for comparing and sending: from the desired state to the programmed kernel. */
  readonly sentMs: number;
  /** The time for the same entries with `ip -batch` (routes, neighbours) and `bridge -batch` (forwarding), in total. */
  readonly batchMs: number;
  /** The time from the start of the process. Includes Node.js's start and the list over plain HTTP. */
  readonly startMs: number;
  readonly use: Use;
}

export interface Churn {
  readonly changes: number;
  readonly seconds: number;
  /** The time from the last change to a kernel that has all changes. */
  readonly settledMs: number;
  readonly passes: number;
  readonly cpuSeconds: number;
}

export interface Relist {
  /** Nodes deleted and created while weftd was disconnected. */
  readonly left: number;
  readonly came: number;
  /** Routes whose removal the kernel reported, by destination. */
  readonly removed: readonly string[];
  readonly settledMs: number;
}

/** A line of weftd's log. */
interface ProgrammingPass {
  readonly changes: number;
  readonly programMs: number;
  readonly eventToProgrammedMs: number;
}

interface Entries {
  readonly routes: readonly string[];
  readonly neighbours: readonly string[];
  readonly forwarding: readonly string[];
}

/** By then weftd has collected the garbage of its start. */
const GARBAGE_MS = 5000;

export class ScaleBed {
  readonly #cleanup: Cleanup;
  readonly #cluster: Cluster;
  readonly #node: Node;
  readonly #stack: Stack;
  #peers = 0;

  private constructor(cleanup: Cleanup, cluster: Cluster, node: Node, stack: Stack) {
    this.#cleanup = cleanup;
    this.#cluster = cluster;
    this.#node = node;
    this.#stack = stack;
  }

  static async make(stack: Stack = "ipv4"): Promise<ScaleBed> {
    const cleanup = new Cleanup();
    try {
      const cluster = await Cluster.start("vxlan", cleanup, { logLevel: "info", families: stack });
      return new ScaleBed(cleanup, cluster, await cluster.addNode(1), stack);
    } catch (error) {
      await cleanup.run();
      throw error;
    }
  }

  close(): Promise<void> {
    return this.#cleanup.run();
  }

  /** Sets the number of peers in the API server. weftd sees them at its next start. */
  async populate(count: number): Promise<void> {
    await this.#node.weftd.stop("SIGTERM");
    const create = Array.from({ length: Math.max(0, count - this.#peers) }, (_, at) => this.#peer(this.#peers + at));
    await this.#cluster.standIn({ create });
    this.#peers = Math.max(this.#peers, count);
  }

  #peer(n: number, generation?: number): NodeInput {
    return peer(n, this.#stack, generation);
  }

  get #overlays() {
    return FAMILIES[this.#stack].map((family) => OVERLAYS[family]);
  }

  /** The number of routes, which is also that of neighbour entries and of forwarding entries. */
  get #entryCount(): number {
    return this.#peers * this.#overlays.length;
  }

  /** Starts weftd on a node without any data path; then programs the same into another namespace with ip and bridge. */
  async program(): Promise<Programming> {
    const joined = await this.join();
    return { ...joined, use: await this.use(), batchMs: await this.#programByTools() };
  }

  /** The first half of `program`. Rejects if the kernel does not have all entries in time. */
  async join(): Promise<Omit<Programming, "use" | "batchMs">> {
    const { inside } = this.#node;
    await this.#node.weftd.stop("SIGTERM");
    for (const { device } of this.#overlays) await inside.succeed("ip", ["link", "del", device]);
    await inside.succeed("nft", ["flush", "ruleset"]);
    const beganMs = performance.now();
    this.#cluster.restartWeftd(this.#node);
    // Reads weftd's log: queries to the kernel would distort the measurement.
    const pass = await eventually(async () => this.#programmingPass(), 60_000, 5);
    const startMs = performance.now() - beganMs;
    await this.#settled();
    return { nodes: this.#peers, weftdMs: pass.eventToProgrammedMs, sentMs: pass.programMs, startMs };
  }

  /** weftd's log line for the pass that programmed all peers. */
  #programmingPass(): ProgrammingPass {
    const { output } = this.#node.weftd;
    const passes = output
      .split("\n")
      .filter((line) => line.includes("data path programmed"))
      .map((line) => JSON.parse(line) as ProgrammingPass);
    const whole = passes.find(({ changes }) => changes > this.#entryCount);
    if (whole === undefined) throw new Error(`weftd logged no pass that programmed all peers:\n${output}`);
    return whole;
  }

  /** Waits until the kernel has a route to each peer, and accepts VXLAN packets from each. */
  #settled(): Promise<void> {
    const { inside, weftd } = this.#node;
    return eventually(
      async () => {
        const routes = (await this.#cluster.peerRoutes(this.#node)).size;
        if (routes !== this.#entryCount) throw new Error(`${routes} routes of ${this.#entryCount}:\n${weftd.output}`);
        for (const { senders } of this.#overlays) {
          const { status, stdout } = await inside.run("nft", ["-j", "list", "set", "inet", "weft", senders]);
          const shown: { nftables: { set?: { elem?: unknown[] } }[] } =
            status === 0 ? JSON.parse(stdout) : { nftables: [] };
          const count = shown.nftables.flatMap(({ set }) => set?.elem ?? []).length;
          if (count < this.#peers) throw new Error(`${count} senders of ${this.#peers}:\n${weftd.output}`);
        }
      },
      40_000,
      50,
    );
  }

  async #entries(): Promise<Entries> {
    const { inside } = this.#node;
    const json = <T>(file: string, ...args: string[]) => inside.json<T[]>(file, ["-j", ...args]);
    const all = { routes: [] as string[], neighbours: [] as string[], forwarding: [] as string[] };
    for (const { device } of this.#overlays) {
      const family = device === OVERLAYS[6].device ? "-6" : "-4";
      const routes = await json<{ dst: string; gateway?: string }>("ip", family, "route", "show", "proto", "119");
      const neighbours = await json<{ dst: string; lladdr: string }>("ip", family, "neigh", "show", "dev", device);
      const forwarding = await json<{ mac: string; dst: string }>("bridge", "fdb", "show", "dev", device);
      all.routes.push(...routes.map(({ dst, gateway }) => `${dst} via ${gateway} dev ${device} onlink proto 119`));
      all.neighbours.push(
        ...neighbours.map(({ dst, lladdr }) => `${dst} lladdr ${lladdr} dev ${device} nud permanent`),
      );
      all.forwarding.push(...forwarding.map(({ mac, dst }) => `${mac} dev ${device} dst ${dst} self permanent`));
    }
    return all;
  }

  async #programByTools(): Promise<number> {
    const { routes, neighbours, forwarding } = await this.#entries();
    const cleanup = new Cleanup();
    try {
      const { name } = await makeNamespace("batch", cleanup);
      const inNamespace = (file: string, args: readonly string[], input = "") =>
        this.#node.inside.run("nsenter", [`--net=/run/netns/${name}`, file, ...args], input);
      for (const { device, underlay, address } of this.#overlays) {
        const vxlan = ["type", "vxlan", "id", "1", "local", underlay, "dstport", "8472", "nolearning"];
        await inNamespace("ip", ["link", "add", device, ...vxlan]);
        await inNamespace("ip", ["address", "add", address, "dev", device]);
        await inNamespace("ip", ["link", "set", device, "up"]);
      }
      const neigh = neighbours.map((entry) => `neigh add ${entry}`);
      const byIp = [...neigh, ...routes.map((entry) => `route add ${entry}`)].join("\n");
      const byBridge = forwarding.map((entry) => `fdb add ${entry}`).join("\n");
      const ip = await inNamespace("ip", ["-batch", "-"], `${byIp}\n`);
      const bridge = await inNamespace("bridge", ["-batch", "-"], `${byBridge}\n`);
      for (const { status, stderr } of [ip, bridge]) if (status !== 0) throw new Error(`-batch: ${stderr}`);
      return ip.ms + bridge.ms;
    } finally {
      await cleanup.run();
    }
  }

  async use(): Promise<Use> {
    const { body } = await this.#cluster.status(this.#node, "/metrics");
    const value = (pattern: RegExp) => Number(pattern.exec(body)?.[1] ?? Number.NaN);
    return {
      residentBytes: value(/^process_resident_memory_bytes (\S+)$/m),
      cpuSeconds: value(/^process_cpu_seconds_total (\S+)$/m),
      passes: value(/^weft_reconcile_passes_total\{result="success"\} (\S+)$/m),
    };
  }

  sight(): Promise<Sight> {
    return this.#cluster.standIn();
  }

  /**
   * Changes one peer after another, `perSecond` times a second, each to another VTEP MAC. Then checks that no change
   * was lost.
   */
  async churn(perSecond: number, seconds: number): Promise<Churn> {
    const before = await this.use();
    const wanted = new Map<number, NodeInput>();
    const beganMs = performance.now();
    const changes = perSecond * seconds;
    for (let done = 0; done < changes; ) {
      const due = Math.min(changes, Math.floor(((performance.now() - beganMs) / 1000) * perSecond));
      const update = Array.from({ length: due - done }, (_, at) => {
        const n = (done + at) % this.#peers;
        const changed = this.#peer(n, 1 + Math.floor((done + at) / this.#peers));
        wanted.set(n, changed);
        return {
          name: changed.metadata.name,
          patch: { metadata: { annotations: changed.metadata.annotations ?? {} } },
        };
      });
      if (update.length > 0) await this.#cluster.standIn({ update });
      done = due;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    const endedMs = performance.now();
    const macs = [...wanted.values()].map(macOf);
    await eventually(
      async () => {
        const { neighbours, forwarding } = await this.#entries();
        for (const [what, held] of [
          ["neighbours", neighbours],
          ["forwarding", forwarding],
        ] as const) {
          const text = held.join("\n");
          const missing = macs.filter((mac) => !text.includes(mac));
          if (missing.length > 0) throw new Error(`${missing.length} of ${macs.length} changes are missing in ${what}`);
          if (held.length !== this.#entryCount) throw new Error(`${held.length} ${what} of ${this.#entryCount}`);
        }
      },
      60_000,
      50,
    );
    const settledMs = performance.now() - endedMs;
    const after = await this.use();
    return {
      changes,
      seconds,
      settledMs,
      passes: after.passes - before.passes,
      cpuSeconds: after.cpuSeconds - before.cpuSeconds,
    };
  }

  /**
   * Disconnects weftd, deletes `count` peers and creates as many, and discards the history, so that weftd must list
   * again.
   */
  async relist(count: number): Promise<Relist> {
    const { lists } = await this.sight();
    const before = new Set((await this.#cluster.peerRoutes(this.#node)).keys());
    const monitor = new Running(this.#node.namespace, "ip", ["-o", "monitor", "route"], this.#cleanup);
    await new Promise((resolve) => setTimeout(resolve, 500));
    const leaving = Array.from({ length: count }, (_, at) => at * 2);
    const coming = Array.from({ length: count }, (_, at) => this.#peers + at);
    const beganMs = performance.now();
    await this.#cluster.standIn({
      remove: leaving.map((n) => this.#peer(n).metadata.name),
      create: coming.map((n) => this.#peer(n)),
      compact: true,
      dropConnections: true,
    });
    const expected = new Set([...before, ...coming.flatMap((n) => subnetsOf(n, this.#stack))]);
    for (const subnet of leaving.flatMap((n) => subnetsOf(n, this.#stack))) expected.delete(subnet);
    await eventually(
      async () => {
        const routes = new Set((await this.#cluster.peerRoutes(this.#node)).keys());
        const wrong = [...new Set([...routes, ...expected])].filter((one) => routes.has(one) !== expected.has(one));
        if (wrong.length > 0)
          throw new Error(`${wrong.length} routes missing or left over: ${wrong.slice(0, 5).join(" ")}`);
      },
      60_000,
      50,
    );
    const settledMs = performance.now() - beganMs;
    await monitor.stop("SIGTERM");
    if ((await this.sight()).lists === lists) throw new Error("weftd did not list again");
    const removed = [...monitor.output.matchAll(/^Deleted (\S+)/gm)].map(([, destination = ""]) => destination);
    return { left: leaving.length, came: coming.length, removed, settledMs };
  }

  /**
   * While weftd is stopped, sends more kernel notifications than the socket's buffer holds, and removes one of weftd's
   * routes. Returns how many losses weftd counted until it has restored the route.
   */
  async overrun(): Promise<number> {
    const { inside, weftd } = this.#node;
    const [route = ""] = (await this.#cluster.peerRoutes(this.#node)).keys();
    const strangers = Array.from(
      { length: 60_000 },
      (_, n) => `blackhole 10.${128 + (n >> 16)}.${(n >> 8) & 255}.${n & 255}`,
    );
    weftd.signal("SIGSTOP");
    try {
      const batch = [...strangers.map((one) => `route add ${one}`), `route del ${route} proto 119`].join("\n");
      const { status, stderr } = await inside.run("ip", ["-batch", "-"], `${batch}\n`);
      if (status !== 0) throw new Error(`ip -batch: ${stderr}`);
    } finally {
      weftd.signal("SIGCONT");
    }
    await eventually(async () => {
      if (!(await this.#cluster.peerRoutes(this.#node)).has(route))
        throw new Error(`${route} was not restored:\n${weftd.output}`);
    }, 30_000);
    const { body } = await this.#cluster.status(this.#node, "/metrics");
    return Number(/^weft_netlink_overruns_total (\S+)$/m.exec(body)?.[1]);
  }

  /** Changes, deletes and creates `count` peers, one after the other. All entries are there before and after. */
  async latencies(count: number): Promise<Latencies> {
    const { device } = OVERLAYS[4];
    const monitor = new Running(
      this.#node.namespace,
      "ip",
      ["-o", "-tshort", "monitor", "route", "neigh"],
      this.#cleanup,
    );
    await new Promise((resolve) => setTimeout(resolve, 500));
    const numbers = Array.from({ length: count }, (_, at) => at * Math.floor(this.#peers / count));
    const time = (stepOf: (n: number) => NodeStep) =>
      timeSteps(numbers.map(stepOf), (order) => this.#cluster.standIn(order), monitor);
    try {
      const change = await time((n) => {
        const { metadata } = this.#peer(n, 200);
        const update = [{ name: metadata.name, patch: { metadata: { annotations: metadata.annotations ?? {} } } }];
        return { order: { update }, shown: new RegExp(`dev ${device} lladdr ${macOf(this.#peer(n, 200))} PERMANENT`) };
      });
      const remove = await time((n) => ({
        order: { remove: [this.#peer(n).metadata.name] },
        shown: new RegExp(`Deleted ${OVERLAYS[4].subnet(n)} via`),
      }));
      const add = await time((n) => ({
        order: { create: [this.#peer(n)] },
        shown: new RegExp(` ${OVERLAYS[4].subnet(n)} via`),
      }));
      return { add, change, remove };
    } finally {
      await monitor.stop("SIGTERM");
    }
  }

  /** weftd's memory now, and at the most since its start. */
  async memory(): Promise<Memory> {
    return (await WeftdProcess.in(this.#node.namespace)).memory();
  }

  /** weftd in so many seconds without changes, after it has collected the garbage of its start. */
  async rest(seconds: number): Promise<Rest> {
    await new Promise((resolve) => setTimeout(resolve, GARBAGE_MS));
    return (await WeftdProcess.in(this.#node.namespace)).rest(seconds);
  }
}
