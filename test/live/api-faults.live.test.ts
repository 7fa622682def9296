/**
 * Failures of the API server. During a failure, the data path never loses anything. Within seconds of its end, the
 * nodes have all changes that they missed.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ANNOTATION } from "../../pkg/cluster/node/annotations.ts";
import type { ControlRequest } from "../apiserver/control.ts";
import { Cleanup } from "./harness/cleanup.ts";
import { Cluster, type Node } from "./harness/cluster.ts";
import { eventually, PATIENCE, Running } from "./harness/process.ts";

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** Back-off after repeated failures of a list or a watch is at most 10 seconds. */
const CONVERGED_MS = 20_000;

/**
 * TCP sends keepalive probes after 15 seconds of silence, ten times. The next watch may have to wait until the server
 * recovers.
 */
const HALF_OPEN_MS = 60_000;

describe("API server failures", () => {
  const cleanup = new Cleanup();
  let cluster: Cluster;
  let nodes: readonly Node[];
  let ping: Running;
  let halfOpen: Node;
  let halfOpenSinceMs = 0;

  beforeAll(async () => {
    cluster = await Cluster.start("vxlan", cleanup);
    cluster.weftdEnvironment = {
      NODE_OPTIONS: `--import=${new URL("./harness/jumping-clock.ts", import.meta.url).pathname}`,
    };
    const [first, second] = [await cluster.addNode(1), await cluster.addNode(2)];
    halfOpen = await cluster.addNode(3);
    nodes = [first, second];
    for (const node of cluster.nodes)
      await eventually(async () => expect((await cluster.peerRoutes(node)).size).toBe(2));
    const [near, far] = [await cluster.addPod(first, "a"), await cluster.addPod(second, "b")];
    await eventually(async () => expect(await near.inside.pings(far.address)).toBe(true));
    ping = new Running(near.namespace, "ping", ["-n", "-i", "0.02", far.address], cleanup);
    await cutWatch(halfOpen);
    halfOpenSinceMs = Date.now();
  });

  afterAll(async () => {
    cluster.freezeApi("SIGCONT");
    await cleanup.run();
  });

  /** Drops the packets of weftd's present connections without an error to either side. New connections work. */
  async function cutWatch({ inside }: Node): Promise<void> {
    const sockets = await inside.succeed("ss", ["-tnH", "state", "established", "dport", "=", ":6443"]);
    const ports = [...sockets.matchAll(/:(\d+)\s+\S+:6443/g)].map(([, port]) => port).join(", ");
    expect(ports).not.toBe("");
    const rules =
      "table inet cut { chain in { type filter hook input priority 0; tcp dport { PORTS } drop; }; " +
      "chain out { type filter hook output priority 0; tcp sport { PORTS } drop; }; }";
    await inside.succeed("nft", [rules.replaceAll("PORTS", ports)]);
  }

  /** The routes and entries for other nodes' pods, as independent tools show them. */
  async function dataPath({ inside }: Node): Promise<string> {
    const shown = [
      await inside.succeed("ip", ["-d", "route", "show", "proto", "119"]),
      await inside.succeed("ip", ["neigh", "show", "dev", "flannel.1", "nud", "permanent"]),
      await inside.succeed("bridge", ["fdb", "show", "dev", "flannel.1"]),
      await inside.succeed("ip", ["-o", "link", "show", "flannel.1"]),
    ];
    return shown.map((text) => text.split("\n").sort().join("\n")).join("\n");
  }

  let made = 100;
  function newNode(): { readonly subnet: string; readonly option: ControlRequest } {
    const number = made++;
    const address = `192.0.2.${number}`;
    const mac = `0a:00:00:00:00:${number.toString(16)}`;
    const annotations = {
      [ANNOTATION.subnetManager]: "true",
      [ANNOTATION.backendType]: "vxlan",
      [ANNOTATION.backendData]: JSON.stringify({ VNI: 1, VtepMAC: mac }),
      [ANNOTATION.publicIp]: address,
    };
    const subnet = `10.244.${number}.0/24`;
    const node = {
      metadata: { name: `extra-${number}`, annotations },
      spec: { podCIDR: subnet },
      status: { addresses: [{ type: "InternalIP", address }] },
    };
    return { subnet, option: { create: [node] } };
  }

  /**
   * `begin` starts the failure. A Node is created while it lasts, and the data path is compared throughout. After
   * `end`, the new Node must get connected.
   */
  async function suffer(what: string, lastsMs: number, begin: () => unknown, end: () => unknown): Promise<void> {
    // Waits until the previous failure is over: a watch of this age is healthy.
    await eventually(
      async () => expect((await cluster.standIn()).watches).toBeGreaterThanOrEqual(nodes.length),
      15_000,
    );
    await pause(2500);
    const before = await Promise.all(nodes.map(dataPath));
    await begin();
    const untilMs = Date.now() + lastsMs;
    while (Date.now() < untilMs) {
      expect(await Promise.all(nodes.map(dataPath))).toEqual(before);
      await pause(200);
    }
    const { subnet, option } = newNode();
    await end();
    await cluster.standIn(option);
    const endedMs = Date.now();
    for (const node of nodes) {
      await eventually(
        async () => expect([...(await cluster.peerRoutes(node)).keys()]).toContain(subnet),
        CONVERGED_MS / PATIENCE,
      );
    }
    console.log(`${what}: a new Node is connected ${Date.now() - endedMs} ms after the end`);
  }

  test.each<[string, ControlRequest]>([
    ["server errors (500)", { fault: { kind: "refuse", status: 500 }, dropConnections: true }],
    [
      "too many requests (429)",
      { fault: { kind: "refuse", status: 429, retryAfterSeconds: 2 }, dropConnections: true },
    ],
    ['repeated "resource version too old" (410)', { fault: { kind: "expire" }, compact: true }],
    ["truncated responses", { fault: { kind: "truncate" }, dropConnections: true }],
  ])("the data path survives %s", async (what, options) => {
    const before = await cluster.standIn();
    await suffer(
      what,
      4000,
      () => cluster.standIn(options),
      async () => {
        const after = await cluster.standIn({ fault: null });
        const requests = after.requests - before.requests;
        console.log(`${what}: ${requests} requests of three nodes in 4 seconds`);
        expect(requests).toBeGreaterThan(2);
        // The delay grows with each failure.
        expect(requests).toBeLessThan(60);
      },
    );
  });

  test("weftd recovers from an expired token when the file has a new one", async () => {
    const kubeconfig = JSON.parse(readFileSync(cluster.kubeconfig, "utf8")) as { users: { user: object }[] };
    const users = kubeconfig.users.map((user) => ({ ...user, user: { token: "renewed" } }));
    await suffer(
      "an expired token",
      3000,
      () => cluster.standIn({ token: "renewed", dropConnections: true }),
      () => writeFileSync(cluster.kubeconfig, JSON.stringify({ ...kubeconfig, users })),
    );
    await cluster.standIn({ token: null });
  });

  test("weftd recovers from a server that hangs, even if weftd starts meanwhile", async () => {
    const [, second] = nodes;
    if (second === undefined) throw new Error("there is no second node");
    await suffer(
      "a hanging server",
      4000,
      async () => {
        cluster.freezeApi("SIGSTOP");
        await second.weftd.stop("SIGKILL");
        cluster.restartWeftd(second);
      },
      () => cluster.freezeApi("SIGCONT"),
    );
    await cluster.ready(second);
  });

  test("weftd survives a wall clock that jumps by more than a year and back", async () => {
    const jump = () => {
      for (const { weftd } of nodes) weftd.signal("SIGUSR2");
    };
    await suffer("a jumping clock", 2000, jump, () => undefined);
    expect(nodes.every(({ weftd }) => weftd.isRunning)).toBe(true);
    await suffer("a clock that jumps back", 1000, jump, () => undefined);
  });

  test("weftd detects a connection that was half open during all failures above", async () => {
    const [first] = nodes;
    if (first === undefined) throw new Error("there is no first node");
    const seen = [...(await cluster.peerRoutes(first)).keys()].filter((subnet) => subnet !== "10.244.3.0/24");
    const whole = ["10.244.1.0/24", ...seen].sort();
    await eventually(
      async () => expect([...(await cluster.peerRoutes(halfOpen)).keys()].sort()).toEqual(whole),
      Math.max(0, halfOpenSinceMs + HALF_OPEN_MS - Date.now()),
    );
    // Probes without an answer detected it, and weftd logged it.
    expect(halfOpen.weftd.output).toMatch(/"silentMs":[2-5]\d{4},.*watch nodes at .*aborted/);
  });

  test("pods lose no packet during all failures above", async () => {
    await ping.stop("SIGINT");
    const [, sent = "", received] = /(\d+) packets transmitted, (\d+) received/.exec(ping.output) ?? [];
    expect(Number(sent)).toBeGreaterThan(1000);
    // The last packet may have been in flight.
    expect(Number(sent) - Number(received)).toBeLessThanOrEqual(1);
  });
});
