/**
 * A machine on which container runtimes run as on a node, with weft's executables in /opt/cni/bin. Its network,
 * processes and files are private. It ends with this process, however that ends, and everything in it ends with it.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { Cleanup } from "../live/harness/cleanup.ts";
import { type Outcome, run, succeed } from "../live/harness/command.ts";
import { makeFolder } from "../live/harness/folder.ts";
import { OWN_PREFIX, removeCgroups } from "../live/harness/leftovers.ts";
import { makeNamespace, type Namespace } from "../live/harness/namespace.ts";
import { OURS } from "../live/harness/plugin-bed.ts";

/** The root file system with the runtimes. */
export const RUNTIMES = resolve(".cache/runtimes/root");
const SCRIPT = new URL("./machine.sh", import.meta.url).pathname;
const ENV = { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", HOME: "/" };

/** The server in a container, and the command that queries it: busybox's own wget needs shared libraries. */
export const SERVE = ["/bin/httpd", "-f", "-p", "80", "-h", "/srv"];
export function ask(address: string, port: number): string[] {
  return [
    "/bin/busybox",
    "sh",
    "-c",
    `printf 'GET / HTTP/1.0\\r\\n\\r\\n' | busybox timeout 5 busybox nc ${address} ${port}`,
  ];
}
export const WELCOME = /^HTTP\/1\.[01] 200 OK\r\n.*\r\n\r\nwelcome\n$/s;

export class Machine {
  readonly network: Namespace;
  readonly cleanup: Cleanup;
  /** A machine shares only its cgroups with the host: runtimes make them below this name. */
  readonly cgroup: string;
  readonly #holder: ChildProcess;

  private constructor(network: Namespace, cleanup: Cleanup, cgroup: string, holder: ChildProcess) {
    this.network = network;
    this.cleanup = cleanup;
    this.cgroup = cgroup;
    this.#holder = holder;
  }

  static async make(label: string): Promise<Machine> {
    if (!existsSync(`${RUNTIMES}/usr/bin/podman`))
      throw new Error(`${RUNTIMES} has no container runtimes: run hack/setup runtimes`);
    const cleanup = new Cleanup();
    const network = await makeNamespace(label, cleanup);
    const cgroup = `${OWN_PREFIX}${label}`;
    cleanup.push(() => removeCgroups(cgroup));
    const root = makeFolder(label, cleanup);
    const args = [
      ...[`--net=${network.path}`, "unshare", "--mount", "--pid", "--fork", "--kill-child"],
      ...["--propagation", "private", "sh", SCRIPT, RUNTIMES, root, OURS],
    ];
    const holder = spawn("nsenter", args, { stdio: ["pipe", "pipe", "inherit"] });
    cleanup.push(() => end(holder));
    await ready(holder);
    return new Machine(network, cleanup, cgroup, holder);
  }

  close(): Promise<void> {
    return this.cleanup.run();
  }

  /** Runs a program of the machine to its end. */
  run(file: string, args: readonly string[] = [], input = ""): Promise<Outcome> {
    const { pid } = this.#holder;
    return run(
      "nsenter",
      [
        ...[`--target=${pid}`, "--mount", "--net", "--root", `--pid=/proc/${pid}/ns/pid_for_children`],
        // nsenter would stay in a folder of the host.
        ...["/bin/busybox", "sh", "-c", 'cd / && exec "$@"', "sh", file, ...args],
      ],
      { input, env: ENV },
    );
  }

  /** Like `run`, but throws if the exit status is not 0. */
  async succeed(file: string, args: readonly string[] = [], input = ""): Promise<string> {
    const { status, stdout, stderr } = await this.run(file, args, input);
    if (status !== 0) throw new Error(`${file} ${args.join(" ")}: exit status ${status}: ${stderr || stdout}`);
    return stdout;
  }

  /** The output of a program of the host on the machine's network, such as `ip -j`. */
  async json<T>(file: string, args: readonly string[]): Promise<T> {
    return JSON.parse((await succeed("nsenter", [`--net=${this.network.path}`, file, ...args])) || "[]") as T;
  }

  /** Runs a script of busybox's shell. */
  shell(script: string): Promise<string> {
    return this.succeed("/bin/busybox", ["sh", "-ec", script]);
  }

  async write(path: string, content: string | object): Promise<void> {
    const text = typeof content === "string" ? content : JSON.stringify(content);
    await this.succeed("/bin/busybox", ["sh", "-c", 'exec busybox cat >"$0"', path], text);
  }
}

function ready(holder: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    holder.once("error", reject);
    holder.once("exit", (status) => reject(new Error(`${SCRIPT} ended with status ${status}`)));
    holder.stdout?.once("data", () => resolve());
  });
}

async function end(holder: ChildProcess): Promise<void> {
  if (holder.exitCode !== null || holder.signalCode !== null) return;
  const ended = new Promise((resolve) => holder.once("exit", resolve));
  holder.stdin?.end();
  await ended;
}
