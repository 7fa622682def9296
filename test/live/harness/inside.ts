/** The near end of an agent: a process of ours inside another namespace. */
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { AgentRequest, Conversation, HttpAnswer, HttpRequest, Swallowed, Transport } from "./agent.ts";
import type { Cleanup } from "./cleanup.ts";
import type { Outcome } from "./command.ts";
import type { Namespace } from "./namespace.ts";
import type { Listening, Probe, ProbeResult } from "./probe.ts";
import { Gone } from "./process.ts";

const AGENT = new URL("./agent.ts", import.meta.url).pathname;

/** An agent that others have compiled before starts in half the time; there are hundreds in one run of the tests. */
const COMPILED = new URL("../../../.cache/agent", import.meta.url).pathname;

/**
 * In a mount namespace of its own, /var/lib/cni is the node's own folder: every node keeps its reservations, as on
 * machines of their own, and the host's are never touched. Namespaces that are made later still show up (slave propagation).
 */
const PRIVATE_STATE =
  'mount -t tmpfs tmpfs /var/lib && mkdir /var/lib/cni && mount --bind "$0" /var/lib/cni && exec "$@"';

/** A command whose process sees `stateDir` as /var/lib/cni. */
export function withState(stateDir: string, command: readonly string[]): readonly string[] {
  return ["unshare", "-m", "--propagation", "slave", "sh", "-c", PRIVATE_STATE, stateDir, ...command];
}

export class Inside {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>();
  #next = 1;

  private constructor(child: ChildProcess) {
    this.#child = child;
    if (child.stdout === null) throw new Error("an agent needs its standard output");
    createInterface({ input: child.stdout }).on("line", (line) => this.#answer(line));
    child.on("exit", () => {
      for (const { reject } of this.#waiting.values()) reject(agentEnded());
      this.#waiting.clear();
    });
    // What is written to an agent that ends meanwhile is answered by its end.
    child.stdin?.on("error", () => undefined);
  }

  /** A process of the namespace. */
  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** With `stateDir`, what runs inside sees that folder as /var/lib/cni. */
  static async enter(namespace: Namespace, cleanup: Cleanup, stateDir?: string): Promise<Inside> {
    const agent = ["nsenter", `--net=${namespace.path}`, process.execPath, AGENT];
    const [file = "", ...args] = stateDir === undefined ? agent : withState(stateDir, agent);
    const env = { ...process.env, NODE_COMPILE_CACHE: COMPILED };
    const inside = new Inside(spawn(file, args, { stdio: ["pipe", "pipe", "inherit"], env }));
    cleanup.push(() => inside.close());
    await inside.#expect(0);
    return inside;
  }

  run(
    file: string,
    args: readonly string[] = [],
    input = "",
    env?: Record<string, string>,
  ): Promise<Outcome & { readonly ms: number }> {
    return this.#ask({ do: "run", file, args, input, ...(env === undefined ? {} : { env }) }) as Promise<
      Outcome & { ms: number }
    >;
  }

  /** As `run`; a status other than 0 is an error. */
  async succeed(file: string, args: readonly string[] = []): Promise<string> {
    const { status, stdout, stderr } = await this.run(file, args);
    if (status !== 0) throw new Error(`${file} ${args.join(" ")}: exit status ${status}: ${stderr || stdout}`);
    return stdout;
  }

  /** What `ip -j` and its like print. */
  async json<T>(file: string, args: readonly string[]): Promise<T> {
    return JSON.parse((await this.succeed(file, args)) || "[]") as T;
  }

  async listen(port: number, transport: Transport = "tcp", host = "::"): Promise<void> {
    await this.#ask({ do: "listen", port, transport, host });
  }

  /** Swallows what `pour` sends to this port. */
  async sink(port: number): Promise<void> {
    await this.#ask({ do: "sink", port });
  }

  /** Sends to a sink by TCP as fast as it goes; what the sink got, in bits a second. */
  async pour(host: string, port: number, forMs: number): Promise<number> {
    const { bytes, ms } = (await this.#ask({ do: "pour", host, port, forMs })) as Swallowed;
    return (bytes * 8 * 1000) / ms;
  }

  /** Sends back what `converse` sends to this port. */
  async echo(port: number): Promise<void> {
    await this.#ask({ do: "echo", port });
  }

  /** One connection to an echo, over which a number goes and comes back each `everyMs`. */
  converse(host: string, port: number, forMs: number, everyMs: number): Promise<Conversation> {
    return this.#ask({ do: "converse", host, port, forMs, everyMs }) as Promise<Conversation>;
  }

  /** How long each of some connections took to be answered, in milliseconds. */
  dial(host: string, port: number, times: number): Promise<readonly number[]> {
    return this.#ask({ do: "dial", host, port, times }) as Promise<readonly number[]>;
  }

  /** The address under which the server saw us. A source port is chosen by `from` (UDP only). */
  async seenBy(host: string, port: number, reach: Reach = {}): Promise<string> {
    const { timeoutMs = 3000, transport = "tcp", ...by } = reach;
    const text = (await this.#ask({ do: "connect", host, port, timeoutMs, transport, ...by })) as string;
    if (!text.endsWith(" echo")) throw new Error(`${host}:${port} answered ${JSON.stringify(text)}: expected an echo`);
    return text.slice(0, -" echo".length);
  }

  /** Serves what `probe` asks, under the name `host`, in place of what was served so before. */
  async serve(host: string, list: readonly Listening[]): Promise<void> {
    await this.#ask({ do: "serve", host, list });
  }

  /** What becomes of some connections to what serves so. */
  probe(probe: Probe): Promise<readonly ProbeResult[]> {
    return this.#ask({ do: "probe", ...probe }) as Promise<readonly ProbeResult[]>;
  }

  /** What an HTTP server answers to us. */
  ask(url: string, request: HttpRequest = {}): Promise<HttpAnswer> {
    return this.#ask({ do: "ask", url, ...request }) as Promise<HttpAnswer>;
  }

  /** True when an echo came back in time. */
  async pings(address: string, timeoutSeconds = 2): Promise<boolean> {
    return (await this.run("ping", ["-n", "-c", "1", "-W", String(timeoutSeconds), address])).status === 0;
  }

  async close(): Promise<void> {
    if (this.#hasEnded) return;
    const ended = new Promise((resolve) => this.#child.once("exit", resolve));
    // Its own end, not a signal: on the way out Node.js keeps what it compiled.
    this.#child.stdin?.end();
    await ended;
  }

  get #hasEnded(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  #ask(request: AgentRequest): Promise<unknown> {
    if (this.#hasEnded) return Promise.reject(agentEnded());
    const id = this.#next++;
    const answer = this.#expect(id);
    this.#child.stdin?.write(`${JSON.stringify({ id, request })}\n`);
    return answer;
  }

  #expect(id: number): Promise<unknown> {
    return new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
  }

  #answer(line: string): void {
    const { id, value, error } = JSON.parse(line) as { id: number; value?: unknown; error?: string };
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error === undefined) waiting?.resolve(value);
    else waiting?.reject(new Error(error));
  }
}

export interface Reach {
  readonly timeoutMs?: number;
  readonly transport?: Transport;
  readonly from?: number;
  /** The client's address, of TCP. */
  readonly source?: string;
}

const agentEnded = () => new Gone("the agent ended");
