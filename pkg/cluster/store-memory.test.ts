/**
 * Checks that a store does not retain the objects that its parser read, neither those of a list nor those of a watch.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { afterEach, expect, test, vi } from "vitest";
import { PODS } from "../../test/apiserver/kinds.ts";
import { type ApiServer, startApiServer } from "../../test/apiserver/server.ts";
import type { Connection } from "./connection.ts";
import { connectKubernetes } from "./kubeconfig.ts";
import type { KubeObject } from "./resource.ts";
import { Store } from "./store.ts";

/** Collects complete heaps, on a machine that may be busy. */
vi.setConfig({ testTimeout: 60_000 });

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

/** Added to each Pod: about the size of managed fields and volumes. */
const BALLAST_BYTES = 10_000;
const PODS_COUNT = 1000;
const PAGE_SIZE = 200;
/** More objects than those that arrive in one turn of the event loop. */
const RECENT = 50;

const cleanups: (() => void | Promise<void>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function startServer(): Promise<{ server: ApiServer; connection: Connection }> {
  const server = await startApiServer({ historyLimit: 10 });
  const folder = mkdtempSync(join(tmpdir(), "weft-memory-"));
  writeFileSync(join(folder, "kubeconfig"), server.kubeconfig());
  const connection = connectKubernetes({ kubeconfig: join(folder, "kubeconfig") });
  cleanups.push(
    () => rmSync(folder, { recursive: true }),
    () => server.close(),
    () => connection.close(),
  );
  return { server, connection };
}

/** One text for all Pods of the server, which runs in this process: each object that arrives is a copy. */
const BALLAST = "x".repeat(BALLAST_BYTES);

function createPod(server: ApiServer, n: number): void {
  const annotations = { ballast: BALLAST };
  const metadata = { name: `p${n}`, namespace: "default", annotations };
  server.cluster.of("pods").create({ metadata, status: { podIP: `10.244.${n >> 8}.${n & 255}` } });
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}

test("releases the objects of a list and of a watch as soon as they are parsed", async () => {
  const { server, connection } = await startServer();
  for (let n = 0; n < PODS_COUNT; n++) createPod(server, n);
  const seen: WeakRef<KubeObject>[] = [];
  const alive = () => seen.filter((object) => object.deref() !== undefined).length;
  /** The number of reachable objects before the last `RECENT`, recorded several times in each page. */
  const held: number[] = [];
  const parse = (object: KubeObject) => {
    if (seen.length % RECENT === 0 && seen.length < PODS_COUNT) {
      collect();
      held.push(seen.slice(0, -RECENT).filter((earlier) => earlier.deref() !== undefined).length);
    }
    seen.push(new WeakRef(object));
    return String((object.status as { podIP?: string }).podIP);
  };
  const store = new Store(connection, { resource: PODS, parse }, { pageSize: PAGE_SIZE });
  cleanups.push(() => store.stop());
  collect();
  const before = process.memoryUsage().heapUsed;
  store.start();
  await until(() => store.status.phase === "watching");
  expect([store.size, seen.length]).toEqual([PODS_COUNT, PODS_COUNT]);
  for (let n = 0; n < 100; n++) createPod(server, PODS_COUNT + n);
  await until(() => store.size === PODS_COUNT + 100);
  // Targets of weak references stay alive until the end of the turn that dereferenced them.
  await new Promise((resolve) => setTimeout(resolve, 20));
  collect();
  expect(held).toHaveLength(PODS_COUNT / RECENT);
  expect(Math.max(...held)).toBe(0);
  // A register may still refer to the last event.
  expect(alive()).toBeLessThan(5);
  const grownBytes = process.memoryUsage().heapUsed - before;
  const rawBytes = (PODS_COUNT + 100) * BALLAST_BYTES;
  expect(grownBytes).toBeLessThan(rawBytes / 5);
});
