/**
 * One weftd among thousands of Nodes that exist in the API server alone: what it programs is real, on a real device;
 * nobody is behind it.
 */
import { ANNOTATION } from "../../pkg/cluster/node/annotations.ts";
import type { Sight } from "../apiserver/control.ts";
import type { NodeInput } from "../apiserver/resource.ts";
import { Cleanup } from "../live/harness/cleanup.ts";
import { Cluster, type Node } from "../live/harness/cluster.ts";
import { makeNamespace } from "../live/harness/namespace.ts";
import { eventually, Running } from "../live/harness/process.ts";

const DEVICE = "flannel.1";

/** Of weftd's process. */
export interface Use {
  readonly residentBytes: number;
  readonly cpuSeconds: number;
  readonly passes: number;
}

export interface Programming {
  readonly nodes: number;
  /** From the whole list in hand to the end of the pass that programmed it, comparison and node table included. */
  readonly weftdMs: number;
  /** Of that, comparing and sending: from what should be in the kernel to a kernel that has it. */
  readonly sentMs: number;
  /** The same entries by `ip -batch` (routes, neighbours) and `bridge -batch` (forwarding), both together. */
  readonly batchMs: number;
  /** From the start of the process, for what it is worth: Node.js, the list and TLS-less HTTP are in it. */
  readonly startMs: number;
  readonly use: Use;
}

export interface Churn {
  readonly changes: number;
  readonly seconds: number;
  /** From the last change to a kernel that holds all of them. */
  readonly settledMs: number;
  readonly passes: number;
  readonly cpuSeconds: number;
}

export interface Relist {
  /** Nodes that left, and came, while weftd was cut off. */
  readonly left: number;
  readonly came: number;
  /** Routes that the kernel says were removed, by destination. */
  readonly removed: readonly string[];
  readonly settledMs: number;
}

/** Peer number `n` as its Node is: with a status as large as a real one's. `generation` changes its VTEP's MAC. */
function peer(n: number, generation = 0): NodeInput {
  const bytes = [generation, n >> 8, n & 0xff].map((byte) => byte.toString(16).padStart(2, "0"));
  const address = `198.18.${n >> 8}.${n & 0xff}`;
  return {
    metadata: {
      name: `peer-${String(n).padStart(5, "0")}`,
      labels: { "kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux" },
      annotations: {
        [ANNOTATION.subnetManager]: "true",
        [ANNOTATION.backendType]: "vxlan",
        [ANNOTATION.backendData]: JSON.stringify({ VNI: 1, VtepMAC: `0a:00:00:${bytes.join(":")}` }),
        [ANNOTATION.publicIp]: address,
      },
    },
    spec: { podCIDR: subnetOf(n) },
    status: { addresses: [{ type: "InternalIP", address }], images: IMAGES },
  };
}

const IMAGES = Array.from({ length: 50 }, (_, at) => ({
  names: [`registry.example/library/image-${at}@sha256:${String(at).repeat(64).slice(0, 64)}`, `image-${at}:v1`],
  sizeBytes: 50_000_000 + at,
}));

/** Eight addresses each, behind those of the node itself. */
function subnetOf(n: number): string {
  const at = 0x4000 + n * 8;
  return `10.244.${at >> 8}.${at & 0xff}/29`;
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

export class ScaleBed {
  readonly #cleanup: Cleanup;
  readonly #cluster: Cluster;
  readonly #node: Node;
  #peers = 0;

  private constructor(cleanup: Cleanup, cluster: Cluster, node: Node) {
    this.#cleanup = cleanup;
    this.#cluster = cluster;
    this.#node = node;
  }

  static async make(): Promise<ScaleBed> {
    const cleanup = new Cleanup();
    try {
      const cluster = await Cluster.start("vxlan", cleanup, { logLevel: "info" });
      return new ScaleBed(cleanup, cluster, await cluster.addNode(1));
    } catch (error) {
      await cleanup.run();
      throw error;
    }
  }

  close(): Promise<void> {
    return this.#cleanup.run();
  }

  /** Has this many peers in the API server; weftd hears of them when it starts the next time. */
  async populate(count: number): Promise<void> {
    await this.#node.weftd.stop("SIGTERM");
    const create = Array.from({ length: Math.max(0, count - this.#peers) }, (_, at) => peer(this.#peers + at));
    await this.#cluster.standIn({ create });
    this.#peers = Math.max(this.#peers, count);
  }

  /** A node with no data path at all starts weftd; then tools program the same into another namespace. */
  async program(): Promise<Programming> {
    const { inside } = this.#node;
    await this.#node.weftd.stop("SIGTERM");
    await inside.succeed("ip", ["link", "del", DEVICE]);
    const beganMs = performance.now();
    this.#cluster.restartWeftd(this.#node);
    // By its log, which costs nothing: whoever asked the kernel meanwhile would take from what is measured.
    const pass = await eventually(async () => this.#programmingPass(), 60_000, 5);
    const startMs = performance.now() - beganMs;
    await this.#settled();
    const { eventToProgrammedMs: weftdMs, programMs: sentMs } = pass;
    const use = await this.use();
    return { nodes: this.#peers, weftdMs, sentMs, startMs, use, batchMs: await this.#programByTools() };
  }

  /** What weftd says of the pass that programmed all. */
  #programmingPass(): ProgrammingPass {
    const { output } = this.#node.weftd;
    const passes = output
      .split("\n")
      .filter((line) => line.includes("data path programmed"))
      .map((line) => JSON.parse(line) as ProgrammingPass);
    const whole = passes.find(({ changes }) => changes > this.#peers);
    if (whole === undefined) throw new Error(`weftd told of no pass that programmed all:\n${output}`);
    return whole;
  }

  /** Waits until the kernel has a route for each peer. */
  #settled(): Promise<void> {
    return eventually(
      async () => {
        const routes = (await this.#cluster.peerRoutes(this.#node)).size;
        if (routes !== this.#peers) throw new Error(`${routes} routes of ${this.#peers}:\n${this.#node.weftd.output}`);
      },
      60_000,
      50,
    );
  }

  async #entries(): Promise<Entries> {
    const { inside } = this.#node;
    const json = <T>(file: string, ...args: string[]) => inside.json<T[]>(file, ["-j", ...args]);
    const routes = await json<{ dst: string; gateway: string }>("ip", "route", "show", "proto", "119");
    const neighbours = await json<{ dst: string; lladdr: string }>("ip", "neigh", "show", "dev", DEVICE);
    const forwarding = await json<{ mac: string; dst: string }>("bridge", "fdb", "show", "dev", DEVICE);
    return {
      routes: routes.map(({ dst, gateway }) => `${dst} via ${gateway} dev ${DEVICE} onlink proto 119`),
      neighbours: neighbours.map(({ dst, lladdr }) => `${dst} lladdr ${lladdr} dev ${DEVICE} nud permanent`),
      forwarding: forwarding.map(({ mac, dst }) => `${mac} dev ${DEVICE} dst ${dst} self permanent`),
    };
  }

  async #programByTools(): Promise<number> {
    const { routes, neighbours, forwarding } = await this.#entries();
    const cleanup = new Cleanup();
    try {
      const { name } = await makeNamespace("batch", cleanup);
      const inNamespace = (file: string, args: readonly string[], input = "") =>
        this.#node.inside.run("nsenter", [`--net=/run/netns/${name}`, file, ...args], input);
      const vxlan = ["type", "vxlan", "id", "1", "dstport", "8472", "nolearning"];
      await inNamespace("ip", ["link", "add", DEVICE, ...vxlan]);
      await inNamespace("ip", ["address", "add", "10.244.1.0/32", "dev", DEVICE]);
      await inNamespace("ip", ["link", "set", DEVICE, "up"]);
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

  /** Changes one peer after the other, so many a second, each into another VTEP; then looks whether one was lost. */
  async churn(perSecond: number, seconds: number): Promise<Churn> {
    const before = await this.use();
    const wanted = new Map<number, NodeInput>();
    const beganMs = performance.now();
    const changes = perSecond * seconds;
    for (let done = 0; done < changes; ) {
      const due = Math.min(changes, Math.floor(((performance.now() - beganMs) / 1000) * perSecond));
      const update = Array.from({ length: due - done }, (_, at) => {
        const n = (done + at) % this.#peers;
        const changed = peer(n, 1 + Math.floor((done + at) / this.#peers));
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
          if (missing.length > 0) throw new Error(`${missing.length} of ${macs.length} changes are not in ${what}`);
          if (held.length !== this.#peers) throw new Error(`${held.length} ${what} for ${this.#peers} peers`);
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

  /** Cuts weftd off, lets `count` peers leave and as many come meanwhile, and forgets the history: it must list again. */
  async relist(count: number): Promise<Relist> {
    const { lists } = await this.sight();
    const before = new Set((await this.#cluster.peerRoutes(this.#node)).keys());
    const monitor = new Running(this.#node.namespace, "ip", ["-o", "monitor", "route"], this.#cleanup);
    await new Promise((resolve) => setTimeout(resolve, 500));
    const leaving = Array.from({ length: count }, (_, at) => at * 2);
    const coming = Array.from({ length: count }, (_, at) => this.#peers + at);
    const beganMs = performance.now();
    await this.#cluster.standIn({
      remove: leaving.map((n) => peer(n).metadata.name),
      create: coming.map((n) => peer(n)),
      compact: true,
      dropConnections: true,
    });
    const expected = new Set([...before, ...coming.map(subnetOf)]);
    for (const n of leaving) expected.delete(subnetOf(n));
    await eventually(
      async () => {
        const routes = new Set((await this.#cluster.peerRoutes(this.#node)).keys());
        const wrong = [...new Set([...routes, ...expected])].filter((one) => routes.has(one) !== expected.has(one));
        if (wrong.length > 0)
          throw new Error(`${wrong.length} routes too many or too few: ${wrong.slice(0, 5).join(" ")}`);
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
   * While weftd stands still, the kernel has more to tell than it keeps, and a route of weftd's goes unheard. Returns how
   * often weftd was told that something was lost, once the route is back.
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
        throw new Error(`${route} is not back:\n${weftd.output}`);
    }, 30_000);
    const { body } = await this.#cluster.status(this.#node, "/metrics");
    return Number(/^weft_netlink_overruns_total (\S+)$/m.exec(body)?.[1]);
  }

  /** Processor time of so many seconds in which nothing happens. */
  async idle(seconds: number): Promise<number> {
    const before = await this.use();
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
    return (await this.use()).cpuSeconds - before.cpuSeconds;
  }
}

function macOf({ metadata }: NodeInput): string {
  const annotations = metadata.annotations as Record<string, string>;
  return (JSON.parse(annotations[ANNOTATION.backendData] ?? "{}") as { VtepMAC: string }).VtepMAC;
}
