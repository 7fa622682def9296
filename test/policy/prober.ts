/** The test's side of probe.c. */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import type { Cleanup } from "../live/harness/cleanup.ts";
import { compiled } from "../live/harness/compiled.ts";
import { Gone } from "../live/harness/process.ts";
import type { Addresses } from "./scene.ts";

const SOURCE = new URL("./probe.c", import.meta.url);

/** The largest number of endpoints. */
export const MOST_ENDPOINTS = 16;

export interface TableResult {
  readonly ms: number;
  /** The number of packets sent again because no reply had arrived. */
  readonly repeated: number;
  /** The number of probes that arrived with the address of no endpoint as their source. */
  readonly strange: number;
  /** A `Result` for each probe. */
  readonly results: string;
}

export interface TableLimits {
  /** How long a table waits for unexpected packets after the last expected reply. */
  readonly settleMs: number;
  /** The limit of a table with missing replies. */
  readonly limitMs: number;
}

export class Prober {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #answers: AsyncIterator<string>;

  private constructor(executable: string, cleanup: Cleanup) {
    this.#child = spawn(executable, [], { stdio: ["pipe", "pipe", "inherit"] });
    this.#answers = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
    // If the prober has ended, the next answer reports that.
    this.#child.stdin.on("error", () => undefined);
    const ended = new Promise((resolve) => this.#child.once("exit", resolve));
    cleanup.push(async () => {
      this.#child.stdin.end();
      await ended;
    });
  }

  static async start(cleanup: Cleanup): Promise<Prober> {
    return new Prober(await compiled(SOURCE, cleanup), cleanup);
  }

  /** Adds an endpoint in a network namespace, or replaces the one at this index. */
  async add(index: number, kind: "pod" | "node", namespace: string, addresses: Addresses): Promise<void> {
    await this.#ask(`${kind} ${index} ${namespace} ${addresses[4]} ${addresses[6]}`);
  }

  /** Closes the sockets of an endpoint, so that its namespace can be removed. */
  async remove(index: number): Promise<void> {
    await this.#ask(`gone ${index}`);
  }

  /** Sets the addresses of a Service whose only endpoint this is. */
  async setService(index: number, addresses: Addresses): Promise<void> {
    await this.#ask(`service ${index} ${addresses[4]} ${addresses[6]}`);
  }

  /**
   * Sends all probes of a table, to the endpoints or to their Services. `expected` is from `expectedTable`, for `size`
   * endpoints.
   */
  async table(
    size: number,
    expected: string,
    { settleMs, limitMs }: TableLimits,
    by: "address" | "service" = "address",
  ): Promise<TableResult> {
    const verb = by === "address" ? "table" : "services";
    const answer = await this.#ask(`${verb} ${settleMs} ${limitMs} ${size} ${expected}`);
    const [, ms, repeated, strange, results = ""] = answer.split(" ");
    return { ms: Number(ms), repeated: Number(repeated), strange: Number(strange), results };
  }

  async #ask(request: string): Promise<string> {
    this.#child.stdin.write(`${request}\n`);
    const { value, done } = await this.#answers.next();
    if (done === true) throw new Gone(`the prober ended at: ${request.slice(0, 60)}`);
    return value;
  }
}
