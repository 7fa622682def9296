import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { SOCKET_FILE } from "../../pkg/footprint.ts";
import { claimRunDir, RunDirInUse, showSign } from "./liveness.ts";

let runDir = "";
beforeEach(() => {
  runDir = mkdtempSync(join(tmpdir(), "weftd-liveness-"));
});
afterEach(() => rmSync(runDir, { recursive: true, force: true }));

const impatient = { waitMs: 0, onWait: () => undefined };

async function isAlive(name: string = SOCKET_FILE): Promise<boolean> {
  const socket = net.connect(join(runDir, name));
  const alive = await Promise.race([
    once(socket, "connect").then(() => true),
    once(socket, "error").then(() => false),
  ]).catch(() => false);
  socket.destroy();
  return alive;
}

test("a claimed run directory accepts connections until the claim is closed", async () => {
  const liveness = await claimRunDir(join(runDir), impatient);
  expect(await isAlive()).toBe(true);
  await liveness.close();
  expect(await isAlive()).toBe(false);
});

test("a missing run directory is created", async () => {
  const below = join(runDir, "a", "b");
  const liveness = await claimRunDir(below, impatient);
  expect(statSync(join(below, SOCKET_FILE)).isSocket()).toBe(true);
  await liveness.close();
});

test("a second claim waits for the end of the first, and is refused after the time limit", async () => {
  const first = await claimRunDir(runDir, impatient);
  await expect(claimRunDir(runDir, impatient)).rejects.toThrow(RunDirInUse);
  expect(await isAlive()).toBe(true);

  let waits = 0;
  const second = claimRunDir(runDir, { waitMs: 10_000, onWait: () => waits++ });
  await new Promise((resolve) => setTimeout(resolve, 50));
  await first.close();
  const liveness = await second;
  expect(waits).toBe(1);
  expect(await isAlive()).toBe(true);
  await liveness.close();
});

test("one of many concurrent claims on a stale socket succeeds", async () => {
  await leaveStaleSocket();
  const outcomes = await Promise.allSettled(Array.from({ length: 8 }, () => claimRunDir(runDir, impatient)));
  const winners = outcomes.filter((outcome) => outcome.status === "fulfilled");
  expect(winners).toHaveLength(1);
  expect(await isAlive()).toBe(true);
  for (const winner of winners) await winner.value.close();
});

test("a claim replaces the socket of a killed process", async () => {
  await leaveStaleSocket();
  expect(await isAlive()).toBe(false);
  const liveness = await claimRunDir(runDir, impatient);
  expect(await isAlive()).toBe(true);
  await liveness.close();
});

test("an additional sign of life replaces a stale one and exists until it is closed", async () => {
  const liveness = await claimRunDir(runDir, impatient);
  await leaveStaleSocket("further.sock");
  expect(await isAlive("further.sock")).toBe(false);
  const sign = await showSign(runDir, "further.sock");
  expect(await isAlive("further.sock")).toBe(true);
  await sign.close();
  expect(await isAlive("further.sock")).toBe(false);
  expect(await isAlive()).toBe(true);
  await liveness.close();
});

/** Makes a socket file whose process was killed. */
async function leaveStaleSocket(name: string = SOCKET_FILE): Promise<void> {
  const path = JSON.stringify(join(runDir, name));
  const script = `require("node:net").createServer().listen(${path}, () => console.log("up"))`;
  const child = spawn(process.execPath, ["-e", script], { stdio: ["ignore", "pipe", "inherit"] });
  await once(child.stdout, "data");
  child.kill("SIGKILL");
  await once(child, "exit");
}
