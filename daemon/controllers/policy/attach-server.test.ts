import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { Registry } from "prom-client";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { AttachReply } from "../../../pkg/attachment/policy/protocol.ts";
import { ManualClock } from "../../../pkg/cluster/manual-clock.ts";
import { formatAddress } from "../../../pkg/ip/address.ts";
import { AttachServer, type AttachServerParts } from "./attach-server.ts";
import type { AttachedPod, PodInstaller } from "./pod-installer.ts";

const REQUEST = {
  ...{ version: 1, pod: "shop/web-1", uid: "0f3a", containerId: "c1", ifName: "eth0" },
  addresses: ["10.244.1.7", "fd00:1::7"],
};

class FakeInstaller implements PodInstaller {
  readonly known = new Set<string>();
  readonly installed: string[] = [];
  readonly reads: { readonly uid: string; readonly atMs: number }[] = [];
  readonly #waiting = new Map<string, () => void>();
  /** Ends a read. */
  read: (pod: AttachedPod) => Promise<void> = () => new Promise(() => undefined);
  refusal: Error | undefined;
  abortedWaits = 0;
  readonly #clock: ManualClock;

  constructor(clock: ManualClock) {
    this.#clock = clock;
  }

  knows({ uid }: AttachedPod): boolean {
    return this.known.has(uid);
  }

  awaitPod({ uid }: AttachedPod, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.set(uid, resolve);
      signal.addEventListener("abort", () => {
        this.abortedWaits++;
        reject(signal.reason);
      });
    });
  }

  /** The watch brings the pod. */
  bring(uid: string): void {
    this.known.add(uid);
    this.#waiting.get(uid)?.();
  }

  readPod(pod: AttachedPod): Promise<void> {
    this.reads.push({ uid: pod.uid, atMs: this.#clock.nowMs() });
    return this.read(pod);
  }

  async install({ key, addresses }: AttachedPod): Promise<{ isIsolated: boolean }> {
    if (this.refusal !== undefined) throw this.refusal;
    this.installed.push(`${key} ${addresses.map(formatAddress).join(" ")}`);
    return { isIsolated: true };
  }
}

let folder: string;
let path: string;
let clock: ManualClock;
let installer: FakeInstaller;
let server: AttachServer;
const warnings: unknown[] = [];
const clients: Socket[] = [];

const log = {
  warn: (fields: unknown) => void warnings.push(fields),
  debug: () => undefined,
} as AttachServerParts["log"];

beforeEach(async () => {
  folder = mkdtempSync(`${tmpdir()}/weft-attach-`);
  path = `${folder}/policy.sock`;
  clock = new ManualClock();
  installer = new FakeInstaller(clock);
  warnings.length = 0;
  server = new AttachServer({ path, installer, clock, log });
  await server.start();
});
afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy();
  await server.stop();
  rmSync(folder, { recursive: true });
});

/** A connection of a plugin, and the replies so far. */
class Client {
  readonly socket: Socket;
  #text = "";
  isClosed = false;

  constructor() {
    this.socket = connect(path);
    clients.push(this.socket);
    this.socket.on("data", (data) => {
      this.#text += data;
    });
    this.socket.on("close", () => {
      this.isClosed = true;
    });
    this.socket.on("error", () => undefined);
  }

  get replies(): AttachReply[] {
    return this.#text
      .split("\n")
      .slice(0, -1)
      .map((line) => JSON.parse(line));
  }

  write(value: unknown): this {
    this.socket.write(typeof value === "string" ? value : `${JSON.stringify(value)}\n`);
    return this;
  }

  async closed(): Promise<AttachReply[]> {
    await until(() => this.isClosed);
    return this.replies;
  }

  async says(count: number): Promise<AttachReply[]> {
    await until(() => this.replies.length >= count);
    return this.replies;
  }
}

async function until(isTrue: () => boolean): Promise<void> {
  for (const limit = Date.now() + 5000; !isTrue(); ) {
    if (Date.now() > limit) throw new Error("it did not happen");
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

const ask = (request: unknown = REQUEST) => new Client().write(request);

test("installs a known pod at its addresses and closes the connection", async () => {
  installer.known.add("0f3a");
  expect(await ask().closed()).toEqual([{ is: "installed", isIsolated: true }]);
  expect(installer.installed).toEqual(["shop/web-1 10.244.1.7 fd00:1::7"]);
  expect(clock.pendingMs()).toEqual([]);
});

test("a pod that the watch brings within a second is installed then", async () => {
  const client = ask();
  expect(await client.says(1)).toEqual([{ is: "waiting" }]);
  clock.advance(900);
  installer.bring("0f3a");
  expect(await client.closed()).toEqual([{ is: "waiting" }, { is: "installed", isIsolated: true }]);
  expect(installer.reads).toEqual([]);
  expect(clock.pendingMs()).toEqual([]);
});

test("reads the pod after a second", async () => {
  installer.read = async ({ uid }) => void installer.known.add(uid);
  const client = ask();
  await client.says(1);
  clock.advance(999);
  expect(installer.reads).toEqual([]);
  clock.advance(1);
  expect((await client.closed())[1]).toEqual({ is: "installed", isIsolated: true });
  expect(installer.reads).toEqual([{ uid: "0f3a", atMs: 1000 }]);
  expect(installer.abortedWaits).toBe(1);
});

test("fails two seconds after the request if the API server does not answer", async () => {
  const client = ask();
  await client.says(1);
  clock.advance(1000);
  await until(() => installer.reads.length === 1);
  expect(clock.pendingMs()).toEqual([1000]);
  clock.advance(1000);
  const reason =
    "weftd does not know the pod shop/web-1 with UID 0f3a: the API server has not answered within 2000 ms; the runtime tries again";
  expect(await client.closed()).toEqual([{ is: "waiting" }, { is: "failed", reason }]);
  expect(warnings).toEqual([{ pod: "shop/web-1", uid: "0f3a", containerId: "c1", reason }]);
  expect(installer.installed).toEqual([]);
});

test.each([
  ["that the pod does not exist", async () => undefined, /the API server has no such pod/],
  ["an error", () => Promise.reject(new Error("GET pods: 403")), /GET pods: 403/],
])("fails at once if the API server answers with %s", async (_name, read, reason) => {
  installer.read = read;
  const client = ask();
  await client.says(1);
  clock.advance(1000);
  const [, last] = await client.closed();
  expect(last).toEqual({ is: "failed", reason: expect.stringMatching(reason) });
});

test("a refusal of the kernel is the reason", async () => {
  installer.known.add("0f3a");
  installer.refusal = new Error("nft add element: ENOSPC");
  expect(await ask().closed()).toEqual([{ is: "failed", reason: "nft add element: ENOSPC" }]);
});

test("replies after the connections of earlier pods are deleted", async () => {
  await server.stop();
  const steps: string[] = [];
  let end = (): void => undefined;
  const flows = {
    attached: (pod: { readonly ifName: string; readonly containerId: string }) => {
      steps.push(`${pod.containerId} ${pod.ifName} after ${installer.installed.length}`);
      return new Promise<void>((resolve) => {
        end = resolve;
      });
    },
  };
  server = new AttachServer({ path, installer, clock, log, flows });
  await server.start();
  installer.known.add("0f3a");
  const client = ask();
  await until(() => steps.length === 1);
  expect([steps, client.replies]).toEqual([["c1 eth0 after 1"], []]);
  end();
  expect(await client.closed()).toEqual([{ is: "installed", isIsolated: true }]);
});

test("a plugin that ends stops the wait, and nothing is installed", async () => {
  const client = ask();
  await client.says(1);
  client.socket.destroy();
  await until(() => installer.abortedWaits === 1);
  installer.bring("0f3a");
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect([installer.installed, installer.reads, clock.pendingMs(), warnings]).toEqual([[], [], [], []]);
});

test("serves a hundred pods at once, each when it is known", async () => {
  const asked = Array.from({ length: 100 }, (_, at) => ask({ ...REQUEST, uid: `u${at}`, pod: `shop/web-${at}` }));
  for (const client of asked) await client.says(1);
  for (let at = 99; at >= 0; at--) {
    installer.bring(`u${at}`);
    expect((await asked[at]?.closed())?.[1]).toEqual({ is: "installed", isIsolated: true });
  }
  expect(installer.installed).toHaveLength(100);
});

const OTHER: readonly (readonly [string, unknown, RegExp])[] = [
  ["text", "hello\n", /"hello" is not a JSON object/],
  ["an empty line", "\n", /"" is not a JSON object/],
  ["bytes", "\u0000\u00ff\n", /is not a JSON object/],
  ["null", "null\n", /is not a JSON object/],
  ["a list", [REQUEST], /is not a JSON object/],
  ["another version", { ...REQUEST, version: 2 }, /version is 2.*executables of weftd's version/],
  ["no pod", { ...REQUEST, pod: undefined }, /pod is missing/],
  ["a pod without a slash", { ...REQUEST, pod: "web-1" }, /expected "namespace\/name"/],
  ["neither UID nor name", { ...REQUEST, uid: "", pod: "/" }, /neither uid nor pod/],
  ["a UID that is a number", { ...REQUEST, uid: 3 }, /uid is 3/],
  ["no addresses", { ...REQUEST, addresses: [] }, /1 to 64 addresses/],
  ["too many addresses", { ...REQUEST, addresses: Array(65).fill("10.0.0.1") }, /1 to 64 addresses/],
  ["a bad address", { ...REQUEST, addresses: ["10.0.0"] }, /addresses contains "10.0.0"/],
  ["a long request", { ...REQUEST, pod: `a/${"x".repeat(9000)}` }, /longer than 8192 bytes/],
  ["an endless line", "x".repeat(100_000), /longer than 8192 bytes/],
];

test.each(OTHER)("answers %s with the reason, and serves the next request", async (_name, request, reason) => {
  const [reply] = await ask(request).closed();
  expect(reply).toEqual({ is: "failed", reason: expect.stringMatching(reason) });
  installer.known.add("0f3a");
  expect(await ask().closed()).toEqual([{ is: "installed", isIsolated: true }]);
});

test("accepts a request in pieces, and ignores what follows it", async () => {
  installer.known.add("0f3a");
  const text = `${JSON.stringify(REQUEST)}\n`;
  const client = new Client();
  for (const piece of [text.slice(0, 7), text.slice(7, -1), "\nmore\n", "x".repeat(20_000)]) {
    client.write(piece);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  expect(await client.closed()).toEqual([{ is: "installed", isIsolated: true }]);
});

test("closes a connection without a complete request after a second", async () => {
  const [silent, half] = [new Client(), new Client().write('{"version":1')];
  await until(() => clock.pendingMs().length === 2);
  clock.advance(1000);
  expect([await silent.closed(), await half.closed()]).toEqual([[], []]);
});

test("refuses connections above the limit, and serves again when one ends", async () => {
  await server.stop();
  server = new AttachServer({ path, installer, clock, log, mostConnections: 2 });
  await server.start();
  const [first] = [new Client(), new Client()];
  await until(() => clock.pendingMs().length === 2);
  expect(await new Client().closed()).toEqual([{ is: "failed", reason: expect.stringMatching(/2 other pods/) }]);
  first?.socket.destroy();
  installer.known.add("0f3a");
  await until(() => clock.pendingMs().length === 1);
  expect(await ask().closed()).toEqual([{ is: "installed", isIsolated: true }]);
});

test.each([0o000, 0o022, 0o777])("only root may open the socket with umask %o", async (umask) => {
  await server.stop();
  const before = process.umask(umask);
  try {
    server = new AttachServer({ path, installer, clock, log });
    await server.start();
  } finally {
    process.umask(before);
  }
  const { mode } = statSync(path);
  expect([(mode & 0o777).toString(8), readdirSync(folder)]).toEqual(["600", ["policy.sock"]]);
});

test.each([
  ["a killed weftd's socket", () => leaveSocket()],
  ["a file", () => writeFileSync(path, "")],
  ["the directory of a killed start", () => writeFileSync(`${path}.new`, "")],
])("replaces %s", async (_name, prepare) => {
  await server.stop();
  await prepare();
  server = new AttachServer({ path, installer, clock, log });
  await server.start();
  installer.known.add("0f3a");
  expect(await ask().closed()).toEqual([{ is: "installed", isIsolated: true }]);
  expect(readdirSync(folder)).toEqual(["policy.sock"]);
});

/** A socket file without a listener: the second name of a socket stays when its server ends. */
async function leaveSocket(): Promise<void> {
  const { linkSync } = await import("node:fs");
  const other = createServer();
  await new Promise<void>((resolve) => void other.listen(`${path}.other`, resolve));
  linkSync(`${path}.other`, path);
  await new Promise((resolve) => other.close(resolve));
}

test("stop ends waiting connections and removes the socket; a second stop does nothing", async () => {
  const client = ask();
  await client.says(1);
  await server.stop();
  expect(await client.closed()).toEqual([{ is: "waiting" }]);
  await server.stop();
  expect([readdirSync(folder), clock.pendingMs()]).toEqual([[], []]);
});

test("stop leaves a successor's socket", async () => {
  const successor = new AttachServer({ path, installer, clock, log });
  await successor.start();
  await server.stop();
  installer.known.add("0f3a");
  expect(await ask().closed()).toEqual([{ is: "installed", isIsolated: true }]);
  await successor.stop();
  expect(readdirSync(folder)).toEqual([]);
});

test("start says which socket it cannot serve", async () => {
  const other = new AttachServer({ path: `${folder}/absent/policy.sock`, installer, clock, log });
  await expect(other.start()).rejects.toThrow(/cannot serve the policy socket .*absent\/policy\.sock: .*ENOENT/);
});

test("measures the time to the reply by result", async () => {
  await server.stop();
  const registry = new Registry();
  server = new AttachServer({ path, installer, clock, log, metrics: { registry } });
  await server.start();
  installer.known.add("0f3a");
  await ask().closed();
  const late = ask({ ...REQUEST, uid: "late" });
  await late.says(1);
  clock.advance(1000);
  await until(() => installer.reads.length === 1);
  clock.advance(1000);
  await late.closed();
  const text = await registry.metrics();
  expect(text).toContain('weft_policy_attach_seconds_bucket{le="0.0001",result="installed"} 1');
  expect(text).toContain('weft_policy_attach_seconds_sum{result="failed"} 2');
});
