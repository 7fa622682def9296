/** The test's side of an agent: controls a process in another namespace. */
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { AgentRequest, Conversation, HttpAnswer, HttpRequest, Swallowed, Transport } from "./agent.ts";
import type { Cleanup } from "./cleanup.ts";
import type { Outcome } from "./command.ts";
import type { Namespace } from "./namespace.ts";
import type { Listening, Probe, ProbeResult } from "./probe.ts";
import { Gone } from "./process.ts";

const AGENT = new URL("./agent.ts", import.meta.url).pathname;

/** Cache of compiled agents. A cached agent starts in half the time, and one test run starts hundreds. */
const COMPILED = new URL("../../../.cache/agent", import.meta.url).pathname;

/**
 * Gives a process its own mount namespace, in which /var/lib/cni is the node's folder. Each node keeps its own
 * reservations, and the host's are never touched. Namespaces made later still appear (slave propagation).
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
    // If the agent has ended, its exit handler reports that.
    child.stdin?.on("error", () => undefined);
  }

  /** The id of a process in the namespace. */
  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** With `stateDir`, programs inside see that folder as /var/lib/cni. */
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

  /** Like `run`, but throws if the exit status is not 0. */
  async succeed(file: string, args: readonly string[] = []): Promise<string> {
    const { status, stdout, stderr } = await this.run(file, args);
    if (status !== 0) throw new Error(`${file} ${args.join(" ")}: exit status ${status}: ${stderr || stdout}`);
    return stdout;
  }

  /** Parses the output of `ip -j` and similar commands. */
  async json<T>(file: string, args: readonly string[]): Promise<T> {
    return JSON.parse((await this.succeed(file, args)) || "[]") as T;
  }

  async listen(port: number, transport: Transport = "tcp", host = "::"): Promise<void> {
    await this.#ask({ do: "listen", port, transport, host });
  }

  /** Discards what `pour` sends to this port. */
  async sink(port: number): Promise<void> {
    await this.#ask({ do: "sink", port });
  }

  /** Sends to a sink by TCP at full speed. Returns the rate that the sink received, in bits per second. */
  async pour(host: string, port: number, forMs: number): Promise<number> {
    const { bytes, ms } = (await this.#ask({ do: "pour", host, port, forMs })) as Swallowed;
    return (bytes * 8 * 1000) / ms;
  }

  /** Sends back what `converse` sends to this port. */
  async echo(port: number): Promise<void> {
    await this.#ask({ do: "echo", port });
  }

  /** Opens one connection to an echo and sends a number every `everyMs`. */
  converse(host: string, port: number, forMs: number, everyMs: number): Promise<Conversation> {
    return this.#ask({ do: "converse", host, port, forMs, everyMs }) as Promise<Conversation>;
  }

  /** The time until each of several connections was answered, in milliseconds. */
  dial(host: string, port: number, times: number): Promise<readonly number[]> {
    return this.#ask({ do: "dial", host, port, times }) as Promise<readonly number[]>;
  }

  /** The client address that the server saw. `from` chooses a source port (UDP only). */
  async seenBy(host: string, port: number, reach: Reach = {}): Promise<string> {
    const { timeoutMs = 3000, transport = "tcp", ...by } = reach;
    const text = (await this.#ask({ do: "connect", host, port, timeoutMs, transport, ...by })) as string;
    if (!text.endsWith(" echo")) throw new Error(`${host}:${port} answered ${JSON.stringify(text)}: expected an echo`);
    return text.slice(0, -" echo".length);
  }

  /** Serves `probe` requests under the name `host`. Replaces an earlier `serve`. */
  async serve(host: string, list: readonly Listening[]): Promise<void> {
    await this.#ask({ do: "serve", host, list });
  }

  /** The results of connections to such servers. */
  probe(probe: Probe): Promise<readonly ProbeResult[]> {
    return this.#ask({ do: "probe", ...probe }) as Promise<readonly ProbeResult[]>;
  }

  /** An HTTP server's answer to a request from this namespace. */
  ask(url: string, request: HttpRequest = {}): Promise<HttpAnswer> {
    return this.#ask({ do: "ask", url, ...request }) as Promise<HttpAnswer>;
  }

  /** True if an echo reply arrived in time. */
  async pings(address: string, timeoutSeconds = 2): Promise<boolean> {
    return (await this.run("ping", ["-n", "-c", "1", "-W", String(timeoutSeconds), address])).status === 0;
  }

  async close(): Promise<void> {
    if (this.#hasEnded) return;
    const ended = new Promise((resolve) => this.#child.once("exit", resolve));
    // The agent exits by itself, without a signal: at exit, Node.js saves its compiled code.
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
  /** The client's address, for TCP. */
  readonly source?: string;
}

const agentEnded = () => new Gone("the agent ended");
