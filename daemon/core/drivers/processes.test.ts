/** Tests with real child processes: Node.js itself, with a script for each behaviour. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { type Clock, SYSTEM_CLOCK } from "../../../pkg/cluster/clock.ts";
import { type ProcessStep, processStep } from "../../../pkg/reconcile/plan-step.ts";
import type { Logger } from "../log.ts";
import { ProcessDriver } from "./processes.ts";

let folder = "";
let driver: ProcessDriver;
let lines: string[] = [];
let messages: string[] = [];
let troubles: string[] = [];

/** Shortens the restart back-off to a tenth. */
const HASTY: Clock = {
  ...SYSTEM_CLOCK,
  random: () => 0,
  setTimer: (ms, action) => SYSTEM_CLOCK.setTimer(ms / 10, action),
};

function fakeLog(): Logger {
  const note = (fields: { line?: string }, message?: string) => {
    if (fields.line !== undefined) lines.push(fields.line);
    else messages.push(message ?? String(fields));
  };
  const log = { info: note, warn: note, child: () => log };
  return log as unknown as Logger;
}

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "weft-processes-"));
  [lines, messages, troubles] = [[], [], []];
  const onTrouble = (owner: string, name: string, reasons: readonly string[]) => {
    if (reasons.length > 0) troubles.push(`${owner} ${name}: ${reasons.join()}`);
  };
  driver = new ProcessDriver({ clock: HASTY, log: fakeLog(), onTrouble });
});
afterEach(async () => {
  await driver.stop();
  rmSync(folder, { recursive: true, force: true });
});

const LIVES = "setInterval(() => undefined, 1000); console.log('up', process.pid);";
const node = (script: string, options: Parameters<typeof processStep>[2] = {}) =>
  processStep("child", [process.execPath, "-e", script], options);
const keep = (steps: readonly ProcessStep[], changed: readonly string[] = [], isComplete = true) =>
  driver.keep("bgp", steps, { changedFiles: new Set(changed), isComplete });
/** Process ids in the order of the starts. */
const started = () => lines.flatMap((line) => (line.startsWith("up ") ? [Number(line.slice(3))] : []));
const isAlive = (pid: number) => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};
const eventually = (check: () => void) => vi.waitFor(check, { timeout: 10_000, interval: 20 });

test("starts a process once and logs its output", async () => {
  const step = node(`console.error("careful"); ${LIVES}`);
  expect((await keep([step])).done).toEqual([step]);
  await eventually(() => expect(lines).toEqual(expect.arrayContaining(["careful", expect.stringMatching(/^up \d+$/)])));
  expect(await keep([step])).toEqual({ done: [], failures: [] });
  expect(started()).toHaveLength(1);
  expect(troubles).toEqual([]);
});

test("stops a process that a complete plan does not contain", async () => {
  await keep([node(LIVES)]);
  await eventually(() => expect(started()).toHaveLength(1));
  const [pid = 0] = started();
  await keep([], [], false);
  expect(isAlive(pid)).toBe(true);
  await keep([]);
  expect(isAlive(pid)).toBe(false);
  expect(troubles).toEqual([]);
});

test("replaces the process if its command line changes", async () => {
  await keep([node(LIVES)]);
  await eventually(() => expect(started()).toHaveLength(1));
  const other = node(`${LIVES} // other`);
  expect((await keep([other])).done).toEqual([other]);
  await eventually(() => expect(started()).toHaveLength(2));
  const [first = 0, second = 0] = started();
  expect([isAlive(first), isAlive(second)]).toEqual([false, true]);
});

test("restarts a process that ends, with back-off, and reports it", async () => {
  const step = node("console.log('up', process.pid); process.exit(3);");
  await keep([step]);
  await eventually(() => expect(started().length).toBeGreaterThanOrEqual(3));
  expect(troubles[0]).toBe(`bgp child: ${process.execPath} ended with code 3; restarting it`);
  await keep([]);
  const count = started().length;
  await new Promise((resolve) => setTimeout(resolve, 300));
  expect(started()).toHaveLength(count);
});

test("restarts a killed process", async () => {
  await keep([node(LIVES)]);
  await eventually(() => expect(started()).toHaveLength(1));
  process.kill(started()[0] ?? 0, "SIGKILL");
  await eventually(() => expect(started()).toHaveLength(2));
  expect(troubles).toEqual([expect.stringContaining("ended by SIGKILL")]);
});

test("does not restart a process with restart on-failure after a success", async () => {
  const step = node("console.log('up', process.pid);", { restart: "on-failure" });
  await keep([step]);
  await eventually(() => expect(messages).toContain("process has ended"));
  expect(await keep([step])).toEqual({ done: [], failures: [] });
  await new Promise((resolve) => setTimeout(resolve, 200));
  expect([started().length, troubles]).toEqual([1, []]);
});

test("reloads a changed configuration by signal, or by a restart if the step has no signal", async () => {
  const path = join(folder, "bird.conf");
  writeFileSync(path, "one");
  const script = `process.on("SIGHUP", () => console.log("reloaded " + require("fs").readFileSync("${path}", "utf8"))); ${LIVES}`;
  const signalled = node(script, { reload: { files: [path], signal: "SIGHUP" } });
  await keep([signalled]);
  await eventually(() => expect(started()).toHaveLength(1));
  writeFileSync(path, "two");
  expect((await keep([signalled], [path])).done).toEqual([signalled]);
  await eventually(() => expect(lines).toContain("reloaded two"));
  expect((await keep([signalled], [join(folder, "other")])).done).toEqual([]);
  expect(started()).toHaveLength(1);
  await keep([node(script, { reload: { files: [path] } })], [path]);
  await eventually(() => expect(started()).toHaveLength(2));
  expect(readFileSync(path, "utf8")).toBe("two");
});

test("fails the step of a missing program and retries the start", async () => {
  const missing = processStep("child", [join(folder, "none")]);
  const { done, failures } = await keep([missing]);
  expect(done).toEqual([]);
  expect(String(failures[0]?.error)).toContain("none cannot be started: spawn");
  writeFileSync(join(folder, "none"), `#!${process.execPath}\n${LIVES}`, { mode: 0o755 });
  await eventually(() => expect(started()).toHaveLength(1));
});

test("stop ends all processes, including one that ignores SIGTERM", async () => {
  await keep([node(`process.on("SIGTERM", () => undefined); ${LIVES}`)]);
  await eventually(() => expect(started()).toHaveLength(1));
  const [pid = 0] = started();
  await driver.stop();
  expect(isAlive(pid)).toBe(false);
});

test("weftd leaves no processes behind when it ends by an error", async () => {
  const script = `
    const [{ ProcessDriver }, { SYSTEM_CLOCK }] = await Promise.all([
      import(${JSON.stringify(join(import.meta.dirname, "processes.ts"))}),
      import(${JSON.stringify(join(import.meta.dirname, "../../../pkg/cluster/clock.ts"))}),
    ]);
    const log = { info() {}, warn() {}, child: () => log };
    const driver = new ProcessDriver({ clock: SYSTEM_CLOCK, log, onTrouble() {} });
    const argv = [process.execPath, "-e", "setInterval(() => undefined, 1000)"];
    const step = { kind: "process", name: "child", argv, restart: "always" };
    await driver.keep("bgp", [step], { changedFiles: new Set(), isComplete: true });
    const { spawnSync } = await import("node:child_process");
    console.log(spawnSync("cat", ["/proc/" + process.pid + "/task/" + process.pid + "/children"]).stdout.toString());
    process.exit(1);
  `;
  const { stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", script], { encoding: "utf8" });
  expect(stderr.replace(/.*ExperimentalWarning.*\n.*\n/, "")).toBe("");
  const pid = Number(stdout.trim().split(" ")[0]);
  expect(pid).toBeGreaterThan(0);
  await eventually(() => expect(isAlive(pid)).toBe(false));
});

test("starts no process after stop, even for a pass that hung until then", async () => {
  await driver.stop();
  const { done, failures } = await keep([node(LIVES)]);
  expect([done, failures.length]).toEqual([[], 1]);
  expect(messages).toEqual([]);
});

test("a stop during a restart for a new configuration is final", async () => {
  const options = { reload: { files: ["/etc/child.conf"] } };
  await keep([node(LIVES, options)]);
  const restarting = keep([node(LIVES, options)], ["/etc/child.conf"]).catch(() => undefined);
  await driver.stop();
  await restarting;
  expect(messages.filter((message) => message === "process started")).toHaveLength(1);
});

test("retries a program whose spawn throws", async () => {
  const { failures } = await keep([processStep("child", [process.execPath, "\0"])]);
  expect(failures).toHaveLength(1);
  await eventually(() => expect(messages.length).toBeGreaterThan(2));
});
