/**
 * Four namespaces: a client, a server, and two nodes between them. One node has weft's rules, the other kube-proxy's
 * ruleset, so that the times of connections through them are measured alternately.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { Cleanup } from "../../live/harness/cleanup.ts";
import { succeed } from "../../live/harness/command.ts";
import { makeFolder } from "../../live/harness/folder.ts";
import { Inside } from "../../live/harness/inside.ts";
import { makeNamespace, type Namespace } from "../../live/harness/namespace.ts";
import type { Flipped, Order, Programmed } from "./child.ts";
import { CLUSTER_IPS, ENDPOINT_PORT, ENDPOINTS, OTHER_CLUSTER_IPS } from "./population.ts";

const CHILD = new URL("./child.ts", import.meta.url).pathname;
const CONNECT = new URL("./connect.c", import.meta.url).pathname;

type AnswerOf<O extends Order> = O extends { do: "flips" } ? Flipped : Programmed;

export class ServicesBench {
  readonly node: Inside;
  readonly other: Inside;
  readonly #client: Inside;
  readonly #connect: string;
  /** A command prefix for all measured programs, of both sides. */
  readonly #priority: readonly string[];
  readonly #child: ChildProcess;
  readonly #answers: AsyncIterator<string>;
  readonly #cleanup: Cleanup;

  private constructor(
    hosts: Record<"node" | "other" | "client", Inside>,
    path: string,
    connect: string,
    isRealtime: boolean,
    cleanup: Cleanup,
  ) {
    this.node = hosts.node;
    this.other = hosts.other;
    this.#client = hosts.client;
    this.#connect = connect;
    this.#cleanup = cleanup;
    this.#priority = isRealtime ? ["chrt", "--fifo", "1"] : [];
    const [file = "", ...args] = [...this.#priority, "nsenter", `--net=${path}`, process.execPath, CHILD];
    this.#child = spawn(file, args, { stdio: ["pipe", "pipe", "inherit"] });
    if (this.#child.stdout === null) throw new Error("the child needs its standard output");
    this.#answers = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
    cleanup.push(
      () =>
        new Promise<void>((resolve) => {
          this.#child.once("exit", () => resolve()).stdin?.end();
        }),
    );
  }

  static async make(isRealtime: boolean): Promise<ServicesBench> {
    const cleanup = new Cleanup();
    try {
      const connect = `${makeFolder("bench", cleanup)}/connect`;
      await succeed("gcc", ["-O2", "-Wall", "-o", connect, CONNECT]);
      const [client, node, other, server] = await Promise.all(
        ["client", "node", "other", "server"].map((name) => makeNamespace(`bench-${name}`, cleanup)),
      );
      if (!client || !node || !other || !server) throw new Error("no namespaces");
      await connectHosts(client, server, { node, other });
      const enter = (namespace: Namespace) => Inside.enter(namespace, cleanup);
      const hosts = { node: await enter(node), other: await enter(other), client: await enter(client) };
      await (await enter(server)).sink(ENDPOINT_PORT);
      return new ServicesBench(hosts, node.path, connect, isRealtime, cleanup);
    } catch (error) {
      await cleanup.run();
      throw error;
    }
  }

  close(): Promise<void> {
    return this.#cleanup.run();
  }

  /** Runs an order on weft's node. */
  async carryOut<O extends Order>(order: O): Promise<AnswerOf<O>> {
    this.#child.stdin?.write(`${JSON.stringify(order)}\n`);
    const { value: line = '{"error":"the child ended"}' } = await this.#answers.next();
    const { value, error } = JSON.parse(line) as { value: AnswerOf<O>; error?: string };
    if (error !== undefined) throw new Error(error);
    return value;
  }

  /** The time of `nft -f` with `text` in milliseconds, into an empty ruleset; undefined if it exceeds the limit. */
  async load(host: Inside, text: string, limitSeconds: number): Promise<number | undefined> {
    await host.succeed("nft", ["flush", "ruleset"]);
    const load = [...this.#priority, "timeout", String(limitSeconds), "nft", "-f", "-"];
    const { status, stderr, ms } = await host.run("env", load, text);
    // 124 is the status of `timeout`.
    if (status === 124) return undefined;
    if (status !== 0) throw new Error(`nft -f: exit status ${status}: ${stderr.slice(0, 500)}`);
    return ms;
  }

  /** The time from SYN to SYN-ACK in microseconds: the samples of each address. The addresses alternate. */
  async connect(addresses: readonly string[], rounds: number): Promise<readonly (readonly number[])[]> {
    const output = await this.#client.succeed("env", [...this.#priority, this.#connect, String(rounds), ...addresses]);
    const samples: number[][] = addresses.map(() => []);
    for (const line of output.trim().split("\n")) {
      const [at = 0, nanoseconds = 0] = line.split(" ").map(Number);
      samples[at]?.push(nanoseconds / 1000);
    }
    return samples;
  }
}

async function connectHosts(client: Namespace, server: Namespace, nodes: Record<"node" | "other", Namespace>) {
  const link = async (from: Namespace, to: Namespace, number: number) => {
    const [a, b] = [`l${number}`, `l${number}`];
    await succeed("ip", ["-n", from.name, "link", "add", a, "type", "veth", "peer", "name", b, "netns", to.name]);
    for (const [namespace, device, end] of [
      [from, a, 1],
      [to, b, 2],
    ] as const) {
      await succeed("ip", ["-n", namespace.name, "address", "add", `198.18.${number}.${end}/24`, "dev", device]);
      await succeed("ip", ["-n", namespace.name, "link", "set", device, "up"]);
    }
  };
  for (const [at, [namespace, range]] of [
    [nodes.node, CLUSTER_IPS],
    [nodes.other, OTHER_CLUSTER_IPS],
  ].entries() as ArrayIterator<[number, [Namespace, string]]>) {
    await link(client, namespace, 2 * at);
    await link(namespace, server, 2 * at + 1);
    await succeed("ip", ["netns", "exec", namespace.name, "sysctl", "-qw", "net.ipv4.ip_forward=1"]);
    await succeed("ip", ["-n", client.name, "route", "add", range, "via", `198.18.${2 * at}.2`]);
    await succeed("ip", ["-n", namespace.name, "route", "add", ENDPOINTS, "via", `198.18.${2 * at + 1}.2`]);
  }
  await succeed("ip", ["-n", server.name, "route", "add", "local", ENDPOINTS, "dev", "lo"]);
}
