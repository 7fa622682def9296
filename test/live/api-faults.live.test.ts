/**
 * Bad days of the API server: whatever it does, the data path never changes for the worse, and once it is well again
 * the nodes know within seconds what they missed.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ANNOTATION } from "../../pkg/cluster/node/annotations.ts";
import type { ControlRequest } from "../apiserver/control.ts";
import { Cleanup } from "./harness/cleanup.ts";
import { Cluster, type Node } from "./harness/cluster.ts";
import { eventually, PATIENCE, Running } from "./harness/process.ts";

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** A list or a watch that fails again and again waits up to 10 seconds before the next attempt. */
const CONVERGED_MS = 20_000;

/** TCP asks after 15 seconds of silence, ten times; the next watch may have to wait for the server to be well again. */
const HALF_OPEN_MS = 60_000;

describe("an API server in trouble", () => {
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

  /** The connections that weftd has now go nowhere from here on; nobody is told. New ones work. */
  async function cutWatch({ inside }: Node): Promise<void> {
    const sockets = await inside.succeed("ss", ["-tnH", "state", "established", "dport", "=", ":6443"]);
    const ports = [...sockets.matchAll(/:(\d+)\s+\S+:6443/g)].map(([, port]) => port).join(", ");
    expect(ports).not.toBe("");
    const rules =
      "table inet cut { chain in { type filter hook input priority 0; tcp dport { PORTS } drop; }; " +
      "chain out { type filter hook output priority 0; tcp sport { PORTS } drop; }; }";
    await inside.succeed("nft", [rules.replaceAll("PORTS", ports)]);
  }

  /** All that leads to other nodes' pods, by independent tools. */
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
   * `begin` brings the trouble about; a Node is made meanwhile; the data path is looked at for as long as it lasts; after
   * `end` the new Node must be connected.
   */
  async function suffer(what: string, lastsMs: number, begin: () => unknown, end: () => unknown): Promise<void> {
    // What went before is over: a watch that lasted this long has shown that it works.
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
    ["errors of the server (500)", { fault: { kind: "refuse", status: 500 }, dropConnections: true }],
    [
      "too many requests (429)",
      { fault: { kind: "refuse", status: 429, retryAfterSeconds: 2 }, dropConnections: true },
    ],
    ["a storm of versions that are too old (410)", { fault: { kind: "expire" }, compact: true }],
    ["answers cut in their middle", { fault: { kind: "truncate" }, dropConnections: true }],
  ])("%s", async (what, options) => {
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
        // Each waits longer after each failure.
        expect(requests).toBeLessThan(60);
      },
    );
  });

  test("a token that has expired, until the file has the new one", async () => {
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

  test("a server that hangs, also for a weftd that starts meanwhile", async () => {
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

  test("a time of day that jumps by more than a year, and back", async () => {
    const jump = () => {
      for (const { weftd } of nodes) weftd.signal("SIGUSR2");
    };
    await suffer("a jumping clock", 2000, jump, () => undefined);
    expect(nodes.every(({ weftd }) => weftd.isRunning)).toBe(true);
    await suffer("a clock that jumps back", 1000, jump, () => undefined);
  });

  test("a connection that is half open since before all that", async () => {
    const [first] = nodes;
    if (first === undefined) throw new Error("there is no first node");
    const seen = [...(await cluster.peerRoutes(first)).keys()].filter((subnet) => subnet !== "10.244.3.0/24");
    const whole = ["10.244.1.0/24", ...seen].sort();
    await eventually(
      async () => expect([...(await cluster.peerRoutes(halfOpen)).keys()].sort()).toEqual(whole),
      Math.max(0, halfOpenSinceMs + HALF_OPEN_MS - Date.now()),
    );
    // It was found out by asking into the silence, and said.
    expect(halfOpen.weftd.output).toMatch(/"silentMs":[2-5]\d{4},.*watch nodes at .*aborted/);
  });

  test("between the pods no packet was lost in all that", async () => {
    await ping.stop("SIGINT");
    const [, sent = "", received] = /(\d+) packets transmitted, (\d+) received/.exec(ping.output) ?? [];
    expect(Number(sent)).toBeGreaterThan(1000);
    // The last one may have been on its way.
    expect(Number(sent) - Number(received)).toBeLessThanOrEqual(1);
  });
});
