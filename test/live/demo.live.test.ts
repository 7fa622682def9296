/** The demo as a program: its figures and exit status. No namespace, file or process remains, however it ends. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { afterEach, expect, test } from "vitest";
import { Cleanup } from "./harness/cleanup.ts";
import { run, succeed } from "./harness/command.ts";
import { compiled } from "./harness/compiled.ts";
import { sweepLeftovers } from "./harness/leftovers.ts";
import { eventually } from "./harness/process.ts";

const SMALL = ["--nodes", "2", "--pods", "1", "--mode", "vxlan"];

/** The test's demos. A failed test leaves them running. */
const demos: Demo[] = [];

class Demo {
  readonly #child: ChildProcess;
  output = "";
  readonly #ended: Promise<unknown>;

  /** `runner` is a program that executes the demo. */
  constructor(args: readonly string[], runner: readonly string[] = []) {
    const [file = "", ...rest] = [...runner, process.execPath, "test/demo/main.ts", ...args];
    this.#child = spawn(file, rest, { stdio: ["ignore", "pipe", "pipe"] });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.setEncoding("utf8").on("data", (text: string) => {
        this.output += text;
      });
    }
    this.#ended = once(this.#child, "close");
    demos.push(this);
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  reaches(step: string): Promise<void> {
    return eventually(() => expect(this.output).toContain(step), 20_000);
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  async status(): Promise<number | null> {
    await this.#ended;
    return this.#child.exitCode;
  }

  /**
   * Namespaces and folders with the demo's process number in their name, and processes with it in their command line.
   */
  async remains(): Promise<string[]> {
    const mark = `weft-test-${this.pid}-`;
    const namespaces = (await succeed("ip", ["netns", "list"])).split("\n").filter((line) => line.startsWith(mark));
    const folders = readdirSync(tmpdir()).filter((name) => name.startsWith(mark));
    const { stdout } = await run("sh", ["-c", `cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n'`]);
    const processes = stdout.split("\n").filter((line) => line.includes(mark));
    return [...namespaces, ...folders, ...processes];
  }
}

afterEach(async () => {
  for (const demo of demos.splice(0)) {
    demo.kill("SIGKILL");
    await demo.status();
  }
  await sweepLeftovers();
});

test("on a machine without IPv6 it reaches the same pairs", async () => {
  const cleanup = new Cleanup();
  try {
    const runner = await compiled(new URL("harness/without-ipv6.c", import.meta.url), cleanup);
    const demo = new Demo(SMALL, [runner]);
    expect(await demo.status(), demo.output).toBe(0);
    expect(demo.output).toMatch(/^demo vxlan: 2\/2 pairs reached$/m);
    expect(await demo.remains()).toEqual([]);
  } finally {
    await cleanup.run();
  }
});

test("prints a table and the number of reached pairs, and exits with status 0", async () => {
  const demo = new Demo(SMALL);
  expect(await demo.status(), demo.output).toBe(0);
  expect(demo.output).toMatch(/^demo vxlan: 2\/2 pairs reached$/m);
  expect(demo.output).toMatch(/ADD of a pod \(3\), all plugins .* median [\d.]+ ms, worst [\d.]+ ms/);
  expect(await demo.remains()).toEqual([]);
});

test("changes the backend node by node, and counts lost packets", async () => {
  const demo = new Demo(["--nodes", "2", "--pods", "1", "--roll", "--family", "dual", "--attach", "ptp"]);
  expect(await demo.status(), demo.output).toBe(0);
  expect(demo.output).toMatch(/^demo roll: 4\/4 pairs reached, 0 of \d{3,} pings lost$/m);
  expect(demo.output).toMatch(/node by node to auto \(net-conf\.json\) +│ 0 of \d+ pings lost/);
  expect(await demo.remains()).toEqual([]);
});

test("serves Services without kube-proxy, and loses no connection while an endpoint is removed", async () => {
  const demo = new Demo(["--nodes", "2", "--pods", "2", "--services", "--family", "dual"]);
  expect(await demo.status(), demo.output).toBe(0);
  // Four pods and two nodes reach two ClusterIPs; two nodes reach two addresses of each of two nodes.
  expect(demo.output).toMatch(
    /^demo services: 20\/20 frontends reached, 0 of \d{2,} new connections failed while an endpoint left$/m,
  );
  expect(demo.output).toMatch(/have removed the endpoint +│ [\d.]+ ms, 0 connections arrived later/);
  expect(demo.output).toMatch(/the ClusterIP +│ median [\d.]+ ms, 95 of 100 within [\d.]+ ms/);
  expect(await demo.remains()).toEqual([]);
});

test("counts and names an unreached pair, and exits with status 1", async () => {
  const demo = new Demo([...SMALL, "--keep"]);
  await demo.reaches("attaching 1 pods to each node");
  // No TCP connection to this pod is accepted any more; pings still are.
  await eventually(
    () => succeed("ip", ["netns", "exec", `weft-test-${demo.pid}-vxlan-n1-p1`, "nft", "-f", "-"], { input: DEAF }),
    10_000,
  );
  await demo.reaches("everything is still running");
  expect(demo.output).toMatch(/^demo vxlan: 1\/2 pairs reached$/m);
  expect(demo.output).toMatch(/^ {2}n2-p1 \(10\.244\.2\.2\) -> n1-p1 \(10\.244\.1\.2\): .*ECONNREFUSED/m);
  demo.kill("SIGINT");
  expect(await demo.status()).toBe(1);
  expect(await demo.remains()).toEqual([]);
});

const DEAF =
  "table inet deaf { chain in { type filter hook input priority 0; ct state new tcp dport 7007 reject with tcp reset; }; }";

test.each(["starting 2 nodes", "attaching 1 pods to each node", "n2 is deleted, n3 is added"])(
  "Ctrl-C while %s leaves nothing",
  async (step) => {
    const demo = new Demo(SMALL);
    await demo.reaches(step);
    demo.kill("SIGINT");
    expect(await demo.status()).toBe(130);
    expect(await demo.remains()).toEqual([]);
  },
);

test("if the API server dies, the demo fails and cleans up", async () => {
  const demo = new Demo(SMALL);
  await demo.reaches("starting 2 nodes");
  await succeed("sh", ["-c", `kill -KILL $(ip netns pids weft-test-${demo.pid}-vxlan-api)`]);
  expect(await demo.status()).toBe(1);
  expect(demo.output).toMatch(/^demo vxlan: /m);
  expect(await demo.remains()).toEqual([]);
});

test("the next run removes what a killed demo left", async () => {
  const demo = new Demo(SMALL);
  await demo.reaches("attaching 1 pods to each node");
  demo.kill("SIGKILL");
  await demo.status();
  expect(await demo.remains()).not.toEqual([]);
  await sweepLeftovers();
  await eventually(async () => expect(await demo.remains()).toEqual([]));
});

test.each([
  [["--nodes", "0"], "Expected a number from 1 to 20"],
  [["--mode", "ipip"], "Allowed choices are vxlan, host-gw, auto, both"],
])("rejects %s in one line", async (args, words) => {
  const demo = new Demo(args);
  expect(await demo.status()).toBe(1);
  expect(demo.output).toContain(words);
  expect(demo.output.trim().split("\n")).toHaveLength(1);
});
