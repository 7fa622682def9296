/** A child process in a node's namespace that programs policies. */
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { Cleanup } from "../../live/harness/cleanup.ts";
import type { Order, Programmed, Relabelled } from "./child.ts";

const CHILD = new URL("./child.ts", import.meta.url).pathname;

type AnswerOf<O extends Order> = O extends { do: "relabel" }
  ? Relabelled
  : O extends { do: "cold" | "restart" }
    ? Programmed
    : undefined;

export class NodeChild {
  readonly #child: ChildProcess;
  readonly #answers: AsyncIterator<string>;

  /** `path`: the namespace's file. */
  constructor(path: string, cleanup: Cleanup) {
    const args = [`--net=${path}`, process.execPath, CHILD];
    this.#child = spawn("nsenter", args, { stdio: ["pipe", "pipe", "inherit"] });
    if (this.#child.stdout === null) throw new Error("the child needs its standard output");
    this.#answers = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
    cleanup.push(
      () =>
        new Promise<void>((resolve) => {
          if (this.#child.exitCode !== null || this.#child.signalCode !== null) resolve();
          else this.#child.once("exit", () => resolve()).stdin?.end();
        }),
    );
  }

  async carryOut<O extends Order>(order: O): Promise<AnswerOf<O>> {
    this.#child.stdin?.write(`${JSON.stringify(order)}\n`);
    const { value: line = '{"error":"the child ended"}' } = await this.#answers.next();
    const { value, error } = JSON.parse(line) as { value: AnswerOf<O>; error?: string };
    if (error !== undefined) throw new Error(error);
    return value;
  }
}
