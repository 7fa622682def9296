/**
 * weftd with additional controllers that throw, hang, or maintain their own objects: in a real kernel, without
 * Kubernetes.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Cleanup } from "./harness/cleanup.ts";
import { makeFolder } from "./harness/folder.ts";
import { Inside } from "./harness/inside.ts";
import { makeNamespace } from "./harness/namespace.ts";
import { eventually, PATIENCE, Running } from "./harness/process.ts";

const CHILD = fileURLToPath(new URL("./controllers-child.ts", import.meta.url));
const cleanup = new Cleanup();
let folder = "";
let inside: Inside;
let weftd: Running;

const entry = (n: number) => `  - name: n${n}\n    podCIDRs: [10.244.${n}.0/24]\n    addresses: [192.0.2.${n}]\n`;
const routes = async (protocol: number) => {
  const found = await inside.json<{ dst: string }[]>("ip", ["-j", "route", "show", "proto", String(protocol)]);
  return found.map(({ dst }) => dst);
};
const get = (path: string) =>
  inside.succeed(process.execPath, [
    "-e",
    `fetch("http://127.0.0.1:9468${path}").then(async (answer) => console.log(await answer.text()))`,
  ]);
/** Time until the object that `damage` removes is restored, in milliseconds. */
async function timeToRepair(damage: readonly string[], isBack: () => Promise<void>): Promise<number> {
  await inside.succeed("ip", damage);
  const beganMs = Date.now();
  await eventually(isBack, 5000, 0);
  return Date.now() - beganMs;
}

beforeAll(async () => {
  folder = makeFolder("controllers", cleanup);
  writeFileSync(`${folder}/net-conf.json`, '{"Network":"10.244.0.0/16","Backend":{"Type":"host-gw"}}');
  writeFileSync(`${folder}/nodes.yaml`, `nodes:\n${entry(1)}${entry(2)}`);
  const namespace = await makeNamespace("controllers", cleanup);
  inside = await Inside.enter(namespace, cleanup);
  await inside.succeed("ip", ["link", "add", "eth0", "type", "veth", "peer", "name", "wire"]);
  await inside.succeed("ip", ["address", "add", "192.0.2.1/24", "dev", "eth0"]);
  for (const end of ["wire", "eth0"]) await inside.succeed("ip", ["link", "set", end, "up"]);
  const args = ["--nodes", `${folder}/nodes.yaml`, "--node-name", "n1", "--net-conf", `${folder}/net-conf.json`];
  const folders = ["--cni-conf-dir", `${folder}/net.d`, "--run-dir", `${folder}/run`];
  weftd = new Running(namespace, process.execPath, [CHILD, ...args, ...folders], cleanup);
  await weftd.says(/weftd runs/);
});
afterAll(() => cleanup.run());

test("the other controllers program and repair at normal speed, and the new one maintains its objects", async () => {
  await eventually(async () => expect(await routes(119)).toEqual(["10.244.2.0/24"]));
  await eventually(async () => expect(await routes(99)).toEqual(["198.51.100.0/24"]));
  expect(readFileSync(`${folder}/run/peers`, "utf8")).toBe("n2");
  const times: number[] = [];
  for (let round = 1; round <= 5; round++) {
    const peer = async () => expect(await routes(119)).toEqual(["10.244.2.0/24"]);
    const own = async () => expect(await routes(99)).toEqual(["198.51.100.0/24"]);
    times.push(await timeToRepair(["route", "del", "10.244.2.0/24"], peer));
    times.push(await timeToRepair(["route", "del", "198.51.100.0/24"], own));
  }
  process.stdout.write(`time to repair with a hanging controller: ${times.join(", ")} ms\n`);
  expect(Math.min(...times)).toBeLessThan(100 * PATIENCE);
});

test("/readyz and the metrics show each controller's state", async () => {
  const readyz = await get("/readyz");
  expect(readyz).toMatch(/^\[!\] controller throwing: failing: it never works; next attempt in /m);
  expect(readyz).toMatch(/^\[\+\] controller (keeping|peers): (idle|running), \d+ passes/m);
  expect(await get("/metrics")).toContain('weft_controller_state{controller="throwing",state="failing"} 1');
  await eventually(
    async () =>
      expect(await get("/readyz")).toMatch(/^\[!\] controller hanging: hanging: a pass has been running for 3\d\./m),
    40_000,
    500,
  );
  const { controllers } = JSON.parse(await get("/debug/state")) as { controllers: { name: string; status: string }[] };
  expect(Object.fromEntries(controllers.map(({ name, status }) => [name, status]))).toMatchObject({
    throwing: "failing",
    hanging: "hanging",
    keeping: "idle",
  });
});

test("a process named by a plan is started, restarted after its end, and ended with weftd", async () => {
  const pids = () => [...weftd.output.matchAll(/"process":"sleeper".*"pid":(\d+)/g)].map(([, pid]) => Number(pid));
  const isAlive = (pid: number) => existsSync(`/proc/${pid}`);
  expect(pids()).toHaveLength(1);
  process.kill(pids()[0] ?? 0, "SIGKILL");
  await eventually(() => expect(pids()).toHaveLength(2));
  expect(pids().map(isAlive)).toEqual([false, true]);
  await weftd.stop("SIGTERM");
  expect(weftd.output).toContain("a pass does not end; stopping without waiting for it");
  expect(pids().map(isAlive)).toEqual([false, false]);
});
