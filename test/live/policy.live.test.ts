/**
 * weftd enforces NetworkPolicies on a real kernel, with real connections: events reach the kernel within milliseconds,
 * restarts and crashes open and close nothing, and damage is repaired.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Cleanup } from "./harness/cleanup.ts";
import { Cluster, ECHO_PORT, type Node, type Pod } from "./harness/cluster.ts";
import { PolicyObjects } from "./harness/policies.ts";
import { eventually, Running } from "./harness/process.ts";

const STREAM_PORT = 7009;
/** A connection that takes longer counts as denied. TCP repeats a dropped SYN only after a second. */
const DENIED_AFTER_MS = 150;
const ANSWERED_WITHIN_MS = 900;
/** The interval of single attempts, and how long each waits. */
const STEP_MS = 2;
const STEP_LIMIT_MS = 60;
const CLOSED_WITHIN_MS = 50;
/** From the start of the command, whose process takes 20 ms of it. */
const LONGEST_WINDOW_MS = 150;
const WINDOW_ATTEMPTS = 8;
/** Long enough for notifications and joined passes to complete. */
const QUIET_MS = 1500;
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

const cleanup = new Cleanup();
let cluster: Cluster;
let objects: PolicyObjects;
let node: Node;
let web: Pod;
let good: Pod;
let bad: Pod;

beforeAll(async () => {
  cluster = await Cluster.start("host-gw", cleanup, { families: "dual" });
  objects = new PolicyObjects(cluster);
  node = await cluster.addNode(1);
  web = await objects.start(node, "web");
  good = await objects.start(node, "good");
  bad = await objects.start(node, "bad");
  await web.inside.echo(STREAM_PORT);
});

afterAll(() => cleanup.run());

async function reaches(from: Pod, to = web): Promise<boolean> {
  const answers = await Promise.all(
    to.addresses.map((address) =>
      from.inside.seenBy(address, ECHO_PORT, { timeoutMs: DENIED_AFTER_MS }).then(
        () => true,
        () => false,
      ),
    ),
  );
  if (new Set(answers).size > 1) throw new Error("the families differ");
  return answers[0] === true;
}

const allowed = (from: Pod, to = web) => eventually(async () => expect(await reaches(from, to)).toBe(true));
const denied = (from: Pod, to = web) => eventually(async () => expect(await reaches(from, to)).toBe(false));

interface Attempts {
  /** The times at which attempts began, by their outcome. */
  readonly reached: readonly number[];
  readonly failed: readonly number[];
}

/** Connects every `stepMs` until the returned function is called. */
function attempts(from: Pod, stepMs = STEP_MS, timeoutMs = STEP_LIMIT_MS): () => Promise<Attempts> {
  const [reached, failed]: [number[], number[]] = [[], []];
  const running = new Set<Promise<void>>();
  const timer = setInterval(() => {
    const beganMs = performance.now();
    const attempt = from.inside
      .seenBy(web.address, ECHO_PORT, { timeoutMs })
      .then(
        () => void reached.push(beganMs),
        () => void failed.push(beganMs),
      )
      .finally(() => running.delete(attempt));
    running.add(attempt);
  }, stepMs);
  return async () => {
    clearInterval(timer);
    await Promise.all(running);
    return { reached, failed };
  };
}

/** The node's table of policies as nft shows it, without counters and handles. Undefined if there is none. */
async function table(): Promise<string | undefined> {
  const { status, stdout } = await node.inside.run("nft", ["-s", "list", "table", "inet", "weft-policy"]);
  return status === 0 ? stdout : undefined;
}

/** Everything committed in the node's namespace until the returned function is called, which returns nft's output. */
async function monitor(): Promise<() => Promise<string>> {
  const running = new Running(node.namespace, "nft", ["monitor"], cleanup);
  await eventually(async () => {
    await node.inside.succeed("nft", ["add", "table", "ip", "probe"]);
    await node.inside.succeed("nft", ["delete", "table", "ip", "probe"]);
    expect(running.output).toContain("probe");
  });
  const from = running.output.length;
  return async () => {
    await running.stop("SIGTERM");
    return running.output.slice(from);
  };
}

/** The times from the arrival of events to their commits, added up since weftd started. */
async function eventToCommitMs(): Promise<number> {
  const { body } = await cluster.status(node, "/metrics");
  return Number(/^weft_policy_programming_latency_seconds_sum (\S+)$/m.exec(body)?.[1]) * 1000;
}

interface Page {
  readonly mode: string;
  readonly modeReason: string;
  readonly isSynced: boolean;
  readonly counts: Readonly<Record<string, number>>;
  readonly policies: readonly {
    readonly policy: string;
    readonly allowedPackets: number;
    readonly deniedPackets: number;
  }[];
}

const page = async (): Promise<Page> => JSON.parse((await cluster.status(node, "/debug/policies")).body) as Page;

/** Starts weftd again with another mode. */
async function restart(mode: string | undefined, signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
  await node.weftd.stop(signal);
  cluster.weftdEnvironment = mode === undefined ? {} : { WEFTD_NETWORK_POLICY: mode };
  cluster.restartWeftd(node);
  await cluster.ready(node);
}

const annotation = async () => {
  const { metadata } = (await cluster.api("GET", `/api/v1/nodes/${node.name}`)) as {
    metadata: { annotations: Readonly<Record<string, string>> };
  };
  return metadata.annotations["weft/network-policy"];
};

const socketKey = () =>
  (JSON.parse(cluster.conflistText(node)) as { plugins: { networkPolicy?: { fail: string } }[] }).plugins[0]
    ?.networkPolicy;

describe("watch events", () => {
  test("without policies there is no table, no pod is listed, and everything is reachable", async () => {
    expect(await table()).toBeUndefined();
    expect((await page()).counts).toMatchObject({ policies: 0, pods: 0 });
    expect(socketKey()).toMatchObject({ fail: "open" });
    expect(await reaches(bad)).toBe(true);
  });

  test("a policy closes the pod within 50 ms of the request, except for pods that it allows", async () => {
    // The first policy also lists the pods; the second one is measured.
    await objects.isolate("first", "none");
    await eventually(async () => expect(await table()).toBeDefined());
    const tried = attempts(bad);
    await pause(100);
    const before = await eventToCommitMs();
    const beganMs = performance.now();
    await objects.isolate("web", "web", ["good"]);
    await pause(300);
    const { reached, failed } = await tried();
    const lastMs = Math.max(...reached) - beganMs;
    const commitMs = (await eventToCommitMs()) - before;
    console.info(
      `a policy: event to commit ${commitMs.toFixed(1)} ms; the last connection that got through began ` +
        `${lastMs.toFixed(1)} ms after the request`,
    );
    expect(failed.length).toBeGreaterThan(0);
    expect(lastMs).toBeLessThan(CLOSED_WITHIN_MS);
    expect(await reaches(good)).toBe(true);
    await denied(bad);
    expect(await eventually(() => node.inside.seenBy(web.address, ECHO_PORT, { timeoutMs: 1000 }))).toBeTruthy();
    await eventually(() => expect(socketKey()).toMatchObject({ fail: "closed" }));
  });

  test("labels decide, in both directions", async () => {
    const before = await eventToCommitMs();
    await objects.relabel("bad", { app: "good" });
    await allowed(bad);
    await objects.relabel("bad", { app: "bad" });
    await denied(bad);
    const commitMs = (await eventToCommitMs()) - before;
    console.info(`two changes of labels: event to commit ${commitMs.toFixed(1)} ms together`);
  });

  test("/debug/policies, /debug/policy-judgement, /readyz and /metrics show the policy", async () => {
    await reaches(good);
    await reaches(bad);
    const { policies, mode, isSynced, counts } = await page();
    expect({ mode, isSynced, ...counts }).toMatchObject({ mode: "enforce", isSynced: true, isolatedPods: 1, pods: 3 });
    const listed = policies.find(({ policy }) => policy === "default/web");
    expect(listed).toMatchObject({ kind: "NetworkPolicy", pods: ["default/web"], directions: ["ingress"] });
    expect(listed?.allowedPackets).toBeGreaterThan(0);
    expect(listed?.deniedPackets).toBeGreaterThan(0);
    const query = `from=${bad.address}&to=${web.address}&protocol=TCP&port=80`;
    expect(JSON.parse((await cluster.status(node, `/debug/policy-judgement?${query}`)).body)).toMatchObject({
      ...{
        mode: "enforce",
        ingress: { pod: "default/web", verdict: "deny", policies: ["default/web"], isByRule: false },
      },
    });
    expect((await cluster.readyz(node)).body).toContain("[+] policies: enforce: 1 pods are isolated");
    const { body } = await cluster.status(node, "/metrics");
    expect(body).toMatch(/^weft_policy_packets_total\{policy="default\/web",verdict="deny"\} [1-9]/m);
    expect(body).toMatch(/^weft_policy_isolated_pods 1$/m);
    expect(await annotation()).toBe("enforce");
  });
});

describe("a pod that is attached", () => {
  test("is isolated before its status has an address, also by a weftd that was killed in between", async () => {
    const uid = await objects.createPod(node, "web2", { app: "web" });
    const pod = await objects.attach(node, "web2", uid);
    const { body } = await cluster.status(node, "/metrics");
    const sum = /^weft_policy_attach_seconds_sum\{result="installed"\} (\S+)$/m.exec(body)?.[1];
    console.info(`policies of ${cluster.pods.length} pods installed in ${(Number(sum) * 1000).toFixed(1)} ms together`);
    await pod.inside.listen(ECHO_PORT + 1);
    expect([await reaches(good, pod), await reaches(bad, pod)]).toEqual([true, false]);
    // The runtime's cache, which the harness does not write.
    const directory = `${node.stateDir}/results`;
    mkdirSync(directory, { recursive: true });
    writeFileSync(`${directory}/cbr0-${pod.name}-eth0`, JSON.stringify(cachedResult(pod, uid)));
    await restart(undefined, "SIGKILL");
    await node.weftd.says(/policies compared with the kernel/);
    expect([await reaches(good, pod), await reaches(bad, pod)]).toEqual([true, false]);
    await objects.report("web2", pod.addresses);
    await pause(QUIET_MS);
    expect([await reaches(good, pod), await reaches(bad, pod)]).toEqual([true, false]);
    await objects.removePod("web2");
    await cluster.removePod(pod);
    await eventually(async () => expect(await table()).not.toContain(pod.address));
  });

  test("is awaited if the API server creates it late, and refused with code 11 if it never does", async () => {
    const identity = { namespace: "default", name: "late" };
    const adding = cluster.addPod(node, "late", identity);
    await pause(300);
    await objects.createPod(node, "late", { app: "web" });
    const pod = await adding;
    expect([await reaches(good, pod), await reaches(bad, pod)]).toEqual([true, false]);
    await objects.removePod("late");
    await cluster.removePod(pod);
    const beganMs = performance.now();
    const failure = await cluster
      .addPod(node, "never", { namespace: "default", name: "never" })
      .catch((error) => error);
    expect(failure).toMatchObject({ code: 11, message: expect.stringMatching(/no pod default\/never/) });
    expect(performance.now() - beganMs).toBeLessThan(5000);
  });

  function cachedResult(pod: Pod, uid: string): object {
    return {
      ...{ kind: "cniCacheV1", containerId: pod.name, ifName: "eth0", networkName: "cbr0" },
      config: Buffer.from(cluster.conflistText(node)).toString("base64"),
      cniArgs: [
        ["K8S_POD_NAMESPACE", "default"],
        ["K8S_POD_NAME", "web2"],
        ["K8S_POD_UID", uid],
      ],
      result: {
        cniVersion: "1.0.0",
        ips: pod.addresses.map((ip) => ({ address: `${ip}/${ip.includes(":") ? 64 : 24}` })),
      },
    };
  }
});

describe("weftd stopped, killed or started again", () => {
  test.each(["SIGTERM", "SIGKILL"] as const)(
    "after %s, nothing is opened or closed, and a start writes nothing",
    async (signal) => {
      const before = await table();
      const stop = await monitor();
      const streams = good.inside.converse(web.address, STREAM_PORT, 4000, 20);
      const [byBad, byGood] = [attempts(bad, 20), attempts(good, 20, ANSWERED_WITHIN_MS)];
      await node.weftd.stop(signal);
      expect(await table()).toEqual(before);
      await pause(500);
      cluster.restartWeftd(node);
      await cluster.ready(node);
      await node.weftd.says(/policies compared with the kernel/);
      const { sent, echoed } = await streams;
      expect([sent > 10, echoed]).toEqual([true, sent]);
      await pause(QUIET_MS);
      expect((await byBad()).reached).toEqual([]);
      expect((await byGood()).failed).toEqual([]);
      expect((await stop()).split("\n").filter((line) => line.includes("weft-policy"))).toEqual([]);
      expect(await table()).toEqual(before);
    },
  );

  test("while the API server is unreachable, a start changes nothing", async () => {
    const before = await table();
    cluster.freezeApi("SIGSTOP");
    try {
      await node.weftd.stop("SIGKILL");
      cluster.restartWeftd(node);
      await pause(QUIET_MS);
      expect(await table()).toEqual(before);
      expect([await reaches(good), await reaches(bad)]).toEqual([true, false]);
      expect(socketKey()).toMatchObject({ fail: "closed" });
    } finally {
      cluster.freezeApi("SIGCONT");
    }
    await cluster.ready(node);
    expect(await table()).toEqual(before);
  });
});

describe("another program", () => {
  test("that flushes the ruleset opens a window until the repair; policies are restored first", async () => {
    const before = await table();
    const windowsMs: number[] = [];
    // A busy machine delays weftd; one attempt in time is enough.
    while (Math.min(...windowsMs) > LONGEST_WINDOW_MS && windowsMs.length < WINDOW_ATTEMPTS) {
      const stop = await monitor();
      const tried = attempts(bad);
      await pause(100);
      const beganMs = performance.now();
      await node.inside.succeed("nft", ["flush", "ruleset"]);
      await pause(700);
      const { reached } = await tried();
      await eventually(async () => expect(await table()).toEqual(before));
      expect(reached.filter((ms) => ms < beganMs)).toEqual([]);
      windowsMs.push(Math.max(beganMs, ...reached) - beganMs);
      const added = [...(await stop()).matchAll(/^add table inet (weft\S*)/gm)].map(([, name]) => name);
      expect(added[0]).toBe("weft-policy");
      await eventually(async () => expect(await node.inside.succeed("nft", ["list", "tables"])).toMatch(/inet weft$/m));
      const [repair = ""] = node.weftd.output.match(/.*restored policies.*/g)?.slice(-1) ?? [];
      const { damagedMs } = JSON.parse(repair) as { damagedMs: number };
      console.info(
        `nft flush ruleset: the last connection that got through began ${windowsMs.at(-1)?.toFixed(1)} ms after the ` +
          `command; weftd restored the policies ${damagedMs} ms after the kernel's notification`,
      );
    }
    expect(Math.min(...windowsMs)).toBeLessThanOrEqual(LONGEST_WINDOW_MS);
  });

  test("that deletes one element loses", async () => {
    const before = await table();
    await node.inside.succeed("sh", [
      "-c",
      `nft delete element inet weft-policy in4 "{ ${web.address} }"; nft flush map inet weft-policy peers6`,
    ]);
    await eventually(async () => expect(await table()).toEqual(before));
  });
});

describe("modes", () => {
  test("audit drops nothing and counts what enforcement would deny", async () => {
    await restart("audit");
    await allowed(bad);
    const count = async () =>
      (await page()).policies.find(({ policy }) => policy === "default/web")?.deniedPackets ?? 0;
    const before = await count();
    expect(await reaches(bad)).toBe(true);
    await pause(1100);
    expect(await count()).toBeGreaterThan(before);
    expect(await page()).toMatchObject({ mode: "audit", modeReason: "flag" });
    await eventually(async () => expect(await annotation()).toBe("audit"));
    await eventually(() => expect(socketKey()).toMatchObject({ fail: "open" }));
  });

  test("without the flag, the recorded mode stays", async () => {
    await restart(undefined);
    expect(await page()).toMatchObject({ mode: "audit", modeReason: expect.stringMatching(/recorded/) });
    await restart("enforce");
    await denied(bad);
    await eventually(async () => expect(await annotation()).toBe("enforce"));
  });

  test("off removes the table, the key of the conflist and the record", async () => {
    await restart("off");
    await eventually(async () => expect(await table()).toBeUndefined());
    expect(await reaches(bad)).toBe(true);
    expect(socketKey()).toBeUndefined();
    expect(await page()).toMatchObject({ mode: "off", modeReason: "flag", policies: [] });
    await eventually(async () => expect(await annotation()).toBeUndefined());
    await restart("enforce");
    await denied(bad);
  });
});

test("without policies, the table goes", async () => {
  await objects.removePolicy("web");
  await allowed(bad);
  await objects.removePolicy("first");
  await eventually(async () => expect(await table()).toBeUndefined());
  await eventually(() => expect(socketKey()).toMatchObject({ fail: "open" }));
});
