import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import type { Settings } from "./attach-server-child.ts";
import type { Cleanup } from "./harness/cleanup.ts";
import { makeFolder } from "./harness/folder.ts";
import type { Inside } from "./harness/inside.ts";
import { eventually } from "./harness/process.ts";

const CHILD = fileURLToPath(new URL("./attach-server-child.ts", import.meta.url));

/** `attach-server-child.ts` as a process in the network namespace of a node. */
export class AttachServerProcess {
  readonly socket: string;
  readonly #child: ChildProcess;
  readonly #lines: string[] = [];

  constructor(node: Inside, cleanup: Cleanup) {
    this.socket = `${makeFolder("weftd", cleanup)}/policy.sock`;
    const namespace = `--net=/proc/${node.pid}/ns/net`;
    const args = [namespace, process.execPath, CHILD, this.socket];
    this.#child = spawn("nsenter", args, { stdio: ["pipe", "pipe", "inherit"] });
    if (this.#child.stdout === null) throw new Error("no output");
    createInterface({ input: this.#child.stdout }).on("line", (line) => this.#lines.push(line));
    cleanup.push(() => this.stop());
  }

  async ready(): Promise<void> {
    await eventually(() => expect(this.#lines).toContain("ready"));
  }

  async set(settings: Settings): Promise<void> {
    const count = this.#lines.length;
    this.#child.stdin?.write(`${JSON.stringify(settings)}\n`);
    await eventually(() => expect(this.#lines.length).toBeGreaterThan(count), 10_000, 1);
  }

  /** Cleans the addresses of ended pods, once no attachment is too young for it. */
  async clean(): Promise<void> {
    await eventually(async () => {
      const count = this.#lines.length;
      this.#child.stdin?.write("clean\n");
      await eventually(() => expect(this.#lines.length).toBeGreaterThan(count), 10_000, 1);
      expect(this.#lines.at(-1)).toBe("cleaned");
    });
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.kill("SIGCONT");
    const ended = new Promise((resolve) => this.#child.once("exit", resolve));
    this.#child.stdin?.end();
    await ended;
  }

  async kill(): Promise<void> {
    const ended = new Promise((resolve) => this.#child.once("exit", resolve));
    this.#child.kill("SIGKILL");
    await ended;
  }
}
