/**
 * Flows that policies do not allow, on a real kernel with real connections: established connections continue, or are cut
 * by --policy-cut-established; those that began without the table are cut. Denied packets are logged, and the preview
 * lists what enforcement would deny.
 */
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { PreviewPage } from "../../command/node/policies-page.ts";
import { Cleanup } from "./harness/cleanup.ts";
import { Cluster, ECHO_PORT, type Node, type Pod } from "./harness/cluster.ts";
import { PolicyObjects } from "./harness/policies.ts";
import { eventually, Running } from "./harness/process.ts";

const STREAM = fileURLToPath(new URL("./stream-child.ts", import.meta.url));
const STREAM_PORT = 7010;
/** A stream that receives nothing for so long has stopped. It receives a line every 10 ms. */
const STOPPED_MS = 400;
/** weftd's own limit is a second. */
const CUT_WITHIN_MS = 1000;
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

const cleanup = new Cleanup();
let cluster: Cluster;
let objects: PolicyObjects;
let node: Node;
let web: Pod;
let good: Pod;
let bad: Pod;
let streams: Stream[] = [];

beforeAll(async () => {
  cluster = await Cluster.start("host-gw", cleanup, { families: "dual" });
  objects = new PolicyObjects(cluster);
  node = await cluster.addNode(1);
  web = await objects.start(node, "web");
  good = await objects.start(node, "good");
  bad = await objects.start(node, "bad");
  const server = new Running(web.namespace, process.execPath, [STREAM, "serve", String(STREAM_PORT)], cleanup);
  await server.says(/listening/);
});
afterAll(() => cleanup.run());
afterEach(async () => {
  await objects.removePolicy("isolate").catch(() => undefined);
  await allowed(bad);
  for (const stream of streams) await stream.close();
  streams = [];
});

/** A connection to the pod `web` that transfers data all the time. */
class Stream {
  readonly mode: "receive" | "talk";
  readonly #client: Running;

  constructor(from: Pod, mode: Stream["mode"], address: string) {
    this.mode = mode;
    this.#client = new Running(from.namespace, process.execPath, [STREAM, mode, address, String(STREAM_PORT)], cleanup);
    streams.push(this);
  }

  async opened(): Promise<this> {
    await this.#client.says(/opened\n\d+/);
    return this;
  }

  /** The time of the last data, in milliseconds since 1970. */
  get lastMs(): number {
    return Number(this.#client.output.match(/^\d+$/gm)?.at(-1));
  }

  get end(): string | undefined {
    return /^ended (.*)$/m.exec(this.#client.output)?.[1];
  }

  get isFlowing(): boolean {
    return this.end === undefined && Date.now() - this.lastMs < STOPPED_MS;
  }

  close(): Promise<void> {
    return this.#client.stop("SIGKILL");
  }
}

/** Streams of both kinds from a pod to each address of `web`. */
const streamsFrom = (from: Pod) =>
  Promise.all(
    (["receive", "talk"] as const).flatMap((mode) =>
      web.addresses.map((address) => new Stream(from, mode, address).opened()),
    ),
  );

async function reaches(from: Pod): Promise<boolean> {
  return from.inside.seenBy(web.address, ECHO_PORT, { timeoutMs: 150 }).then(
    () => true,
    () => false,
  );
}
const allowed = (from: Pod) => eventually(async () => expect(await reaches(from)).toBe(true));
const denied = (from: Pod) => eventually(async () => expect(await reaches(from)).toBe(false));

/** Starts weftd again with these variables. */
async function restart(environment: Readonly<Record<string, string>> = {}): Promise<void> {
  await node.weftd.stop("SIGTERM");
  cluster.weftdEnvironment = environment;
  cluster.restartWeftd(node);
  await cluster.ready(node);
}

/** The lines of weftd's log, since it was started, for which `isWanted`. */
const lines = (isWanted: (line: LogLine) => boolean) =>
  node.weftd.output
    .split("\n")
    .flatMap((line) => (line.startsWith("{") && line.endsWith("}") ? [JSON.parse(line) as LogLine] : []))
    .filter(isWanted);
interface LogLine extends Readonly<Record<string, unknown>> {
  readonly msg: string;
}

const preview = async (): Promise<PreviewPage> =>
  JSON.parse((await cluster.status(node, "/debug/policy-preview")).body) as PreviewPage;

describe("a policy that isolates a pod with established connections", () => {
  test("by default they continue, and new ones are denied", async () => {
    const established = await streamsFrom(bad);
    await objects.isolate("isolate", "web", ["good"]);
    await denied(bad);
    await pause(CUT_WITHIN_MS + STOPPED_MS);
    expect(established.map(({ isFlowing }) => isFlowing)).toEqual([true, true, true, true]);
  });

  test("with --policy-cut-established they end within a second, and allowed ones continue", async () => {
    await restart({ WEFTD_POLICY_CUT_ESTABLISHED: "true" });
    const [kept, cut] = [await streamsFrom(good), await streamsFrom(bad)];
    const createdMs = Date.now();
    await objects.isolate("isolate", "web", ["good"]);
    await eventually(() => expect(cut.every(({ isFlowing }) => !isFlowing)).toBe(true));
    for (const { lastMs } of cut) expect(lastMs - createdMs).toBeLessThan(CUT_WITHIN_MS);
    // A client learns that its connection has ended as soon as it sends.
    const talking = cut.filter(({ mode }) => mode === "talk");
    await eventually(() => expect(talking.map(({ end }) => end)).toEqual(["ECONNRESET", "ECONNRESET"]));
    await pause(CUT_WITHIN_MS);
    expect(kept.map(({ isFlowing }) => isFlowing)).toEqual([true, true, true, true]);
    expect(lines(({ msg }) => msg.startsWith("cut flows")).length).toBeGreaterThan(0);
    // Connections that are allowed again begin as new ones.
    await objects.removePolicy("isolate");
    await allowed(bad);
    const again = await streamsFrom(bad);
    await pause(STOPPED_MS);
    expect(again.map(({ isFlowing }) => isFlowing)).toEqual([true, true, true, true]);
  });

  test("a relabelled peer's connections are cut, too, and those of the node never", async () => {
    await objects.isolate("isolate", "web", ["good"]);
    await denied(bad);
    const ofNode = { ...good, namespace: node.namespace };
    const [own, peers] = [await streamsFrom(ofNode), await streamsFrom(good)];
    const changedMs = Date.now();
    await objects.relabel("good", { app: "other" });
    await eventually(() => expect(peers.every(({ isFlowing }) => !isFlowing)).toBe(true));
    for (const { lastMs } of peers) expect(lastMs - changedMs).toBeLessThan(CUT_WITHIN_MS);
    await pause(STOPPED_MS);
    expect(own.map(({ isFlowing }) => isFlowing)).toEqual([true, true, true, true]);
    await objects.relabel("good", { app: "good" });
    await allowed(good);
  });
});

test("after a flushed ruleset, connections that began without the table are cut; others continue", async () => {
  await restart();
  const before = await streamsFrom(bad);
  await objects.isolate("isolate", "web", ["good"]);
  await denied(bad);
  // Flows that begin now have a time.
  await eventually(async () =>
    expect((await node.inside.succeed("cat", ["/proc/sys/net/netfilter/nf_conntrack_timestamp"])).trim()).toBe("1"),
  );
  const allowedBefore = await streamsFrom(good);
  await pause(1500);
  // The window would otherwise last for some milliseconds.
  node.weftd.signal("SIGSTOP");
  await node.inside.succeed("nft", ["flush", "ruleset"]);
  const meanwhile = await streamsFrom(bad);
  const allowedMeanwhile = await streamsFrom(good);
  node.weftd.signal("SIGCONT");
  await eventually(() => expect(meanwhile.map(({ isFlowing }) => isFlowing)).toEqual([false, false, false, false]), 5000).catch(async (error) => {
    console.log(lines(({ level }) => level !== "debug").slice(-12).map((line) => JSON.stringify(line)).join("\n"), await node.inside.succeed("conntrack", ["-L", "-p", "tcp", "-o", "ktimestamp"]), await node.inside.succeed("nft", ["list","ruleset"]), Date.now());
    throw error;
  });
  await denied(bad);
  await pause(STOPPED_MS);
  for (const others of [before, allowedBefore, allowedMeanwhile])
    expect(others.map(({ isFlowing }) => isFlowing)).toEqual([true, true, true, true]);
});

describe("the log of denied packets", () => {
  const deniedLines = () => lines(({ msg }) => msg === "policies denied a packet");

  test("a line has the direction, the pods, the port and the policy", async () => {
    await restart();
    await objects.isolate("isolate", "web", ["good"]);
    await denied(bad);
    await eventually(() => expect(deniedLines().length).toBeGreaterThan(0));
    expect(deniedLines()[0]).toMatchObject({
      direction: "ingress",
      from: { address: bad.address, namespace: "default", pod: "bad" },
      to: { address: web.address, namespace: "default", pod: "web" },
      ...{ protocol: "TCP", port: ECHO_PORT, policies: ["default/isolate"], tier: "NetworkPolicy", audited: false },
    });
    expect(deniedLines().every(({ from }) => (from as { pod: string }).pod === "bad")).toBe(true);
    const address6 = web.addresses[1] ?? "";
    await bad.inside.run("ping", ["-n", "-c", "1", "-W", "1", address6]);
    await eventually(() =>
      expect(deniedLines().at(-1)).toMatchObject({ protocol: "ICMPv6", to: { address: address6, pod: "web" } }),
    );
    expect(deniedLines().at(-1)).not.toHaveProperty("port");
  });

  test("a flood writes few lines, and weftd stays responsive", async () => {
    await objects.isolate("isolate", "web", ["good"]);
    await denied(bad);
    const since = deniedLines().length;
    const began = performance.now();
    await bad.inside.succeed("bash", [
      "-c",
      `exec 3>/dev/udp/${web.address}/9; for i in $(seq 20000); do echo flood >&3; done`,
    ]);
    const { status } = await cluster.status(node, "/healthz");
    expect(status).toBe(200);
    const seconds = (performance.now() - began) / 1000;
    await pause(500);
    const written = deniedLines().length - since;
    expect(written).toBeGreaterThan(0);
    expect(written).toBeLessThanOrEqual(50 * Math.ceil(seconds + 1));
  });
});

test("in audit mode nothing is cut, and the preview lists exactly the flows that enforcement would deny", async () => {
  await restart({ WEFTD_NETWORK_POLICY: "audit", WEFTD_POLICY_CUT_ESTABLISHED: "true" });
  // Connections that have ended stay in the table for minutes, and in the preview.
  await node.inside.run("conntrack", ["-F"]);
  const ofNode = { ...good, namespace: node.namespace };
  const all = (await Promise.all([good, bad, ofNode].map(streamsFrom))).flat();
  await objects.isolate("isolate", "web", ["good"]);
  const deniedBy = {
    ...{ direction: "ingress", pod: "default/web", verdict: "deny", tier: "NetworkPolicy" },
    ...{ policies: ["default/isolate"], isByRule: false },
  };
  const flow = { protocol: "TCP", fromPod: "default/bad", toPod: "default/web", port: STREAM_PORT, flows: 2, deniedBy };
  await eventually(async () => {
    const page = await preview();
    const streamed = page.denied.filter(({ port }) => port === STREAM_PORT);
    expect(streamed).toHaveLength(2);
    expect(streamed).toEqual(
      expect.arrayContaining(
        bad.addresses.map((from, at) =>
          expect.objectContaining({
            ...flow,
            from,
            to: web.addresses[at],
            deniedBy: expect.objectContaining(deniedBy),
          }),
        ),
      ),
    );
    expect(page.denied.every(({ fromPod }) => fromPod === "default/bad")).toBe(true);
    expect(page).toMatchObject({ mode: "audit" });
    expect(page.flows).toBeGreaterThanOrEqual(12);
  });
  await pause(CUT_WITHIN_MS);
  expect(all.every(({ isFlowing }) => isFlowing)).toBe(true);
  await reaches(bad);
  await eventually(() =>
    expect(lines(({ msg }) => msg === "policies would deny a packet")[0]).toMatchObject({
      audited: true,
      port: ECHO_PORT,
    }),
  );
  await restart({ WEFTD_NETWORK_POLICY: "enforce" });
  await denied(bad);
  expect((await preview()).mode).toBe("enforce");
  await restart();
});
