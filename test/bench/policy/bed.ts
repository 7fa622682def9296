/**
 * A client and a server, and one node between them for each set of policies, so that the times of connections through
 * the nodes are measured alternately. All nodes masquerade as weft does: they track connections without policies too.
 */
import { Cleanup } from "../../live/harness/cleanup.ts";
import { succeed } from "../../live/harness/command.ts";
import { compiled } from "../../live/harness/compiled.ts";
import { Inside } from "../../live/harness/inside.ts";
import { makeNamespace, type Namespace } from "../../live/harness/namespace.ts";
import { DENIED_PORT, type MeasuredPods, PORT } from "./measured-pods.ts";
import { NodeChild } from "./node-child.ts";
import type { PopulationSize } from "./population.ts";

const CONNECT = new URL("../services/connect.c", import.meta.url);
const BASE = `
table inet base {
  chain post {
    type nat hook postrouting priority srcnat;
    ip saddr 10.244.0.0/16 ip daddr != 10.244.0.0/16 masquerade
  }
}`;

const clientAt = (number: number) => `198.18.${2 * number}.1`;
const serverAt = (number: number) => `198.19.${number}.1`;

export class PathsBed {
  readonly #client: Inside;
  readonly #connect: string;
  readonly #nodes: readonly Namespace[];
  readonly #cleanup: Cleanup;

  private constructor(client: Inside, connect: string, nodes: readonly Namespace[], cleanup: Cleanup) {
    this.#client = client;
    this.#connect = connect;
    this.#nodes = nodes;
    this.#cleanup = cleanup;
  }

  static async make(nodeCount: number): Promise<PathsBed> {
    const cleanup = new Cleanup();
    try {
      const connect = await compiled(CONNECT, cleanup);
      const client = await makeNamespace("bench-client", cleanup);
      const server = await makeNamespace("bench-server", cleanup);
      const nodes: Namespace[] = [];
      for (let number = 0; number < nodeCount; number++) {
        const node = await makeNamespace(`bench-node${number}`, cleanup);
        await connectNode(client, node, server, number);
        nodes.push(node);
      }
      await succeed("ip", ["-n", server.name, "route", "add", "local", "198.19.0.0/16", "dev", "lo"]);
      await (await Inside.enter(server, cleanup)).sink(PORT);
      return new PathsBed(await Inside.enter(client, cleanup), connect, nodes, cleanup);
    } catch (error) {
      await cleanup.run();
      throw error;
    }
  }

  close(): Promise<void> {
    return this.#cleanup.run();
  }

  /** Isolates both ends of the path through a node by `policies` policies, in a cluster of `size`. */
  async isolate(number: number, size: PopulationSize, policies: number): Promise<void> {
    const measured: MeasuredPods = { client: clientAt(number), server: serverAt(number), policies };
    const { path = "" } = this.#nodes[number] ?? {};
    await new NodeChild(path, this.#cleanup).carryOut({ do: "cold", size, measured });
    if (!(await this.#isDenied(number))) throw new Error(`node ${number} enforces no policies`);
  }

  /** The time from SYN to SYN-ACK in microseconds: the samples of each node. The nodes alternate. */
  async connect(rounds: number): Promise<readonly (readonly number[])[]> {
    const addresses = this.#nodes.map((_, number) => serverAt(number));
    const samples: number[][] = addresses.map(() => []);
    const output = await this.#client.succeed(this.#connect, [String(rounds), ...addresses]);
    for (const line of output.trim().split("\n")) {
      const [at = 0, nanoseconds = 0] = line.split(" ").map(Number);
      samples[at]?.push(nanoseconds / 1000);
    }
    return samples;
  }

  /** The rate of a TCP stream through a node, in bits per second. */
  pour(number: number, ms: number): Promise<number> {
    return this.#client.pour(serverAt(number), PORT, ms);
  }

  /** True if the node drops a connection to a port that no policy allows. A closed port would refuse it. */
  async #isDenied(number: number): Promise<boolean> {
    const open = `exec 3<>/dev/tcp/${serverAt(number)}/${DENIED_PORT}`;
    const { status } = await this.#client.run("timeout", ["0.5", "bash", "-c", open]);
    return status === 124;
  }
}

async function connectNode(client: Namespace, node: Namespace, server: Namespace, number: number): Promise<void> {
  const [near, far] = [2 * number, 2 * number + 1];
  await link(client, node, near);
  await link(node, server, far);
  await succeed("ip", ["netns", "exec", node.name, "sysctl", "-qw", "net.ipv4.ip_forward=1"]);
  await succeed("ip", ["netns", "exec", node.name, "nft", "-f", "-"], { input: BASE });
  const route = ({ name }: Namespace, prefix: string, via: string) =>
    succeed("ip", ["-n", name, "route", "add", prefix, "via", via]);
  await route(client, `198.19.${number}.0/24`, `198.18.${near}.2`);
  await route(node, `198.19.${number}.0/24`, `198.18.${far}.2`);
  await route(server, `198.18.${near}.0/24`, `198.18.${far}.1`);
}

async function link(from: Namespace, to: Namespace, number: number): Promise<void> {
  const name = `l${number}`;
  await succeed("ip", ["-n", from.name, "link", "add", name, "type", "veth", "peer", "name", name, "netns", to.name]);
  for (const [namespace, end] of [
    [from, 1],
    [to, 2],
  ] as const) {
    await succeed("ip", ["-n", namespace.name, "address", "add", `198.18.${number}.${end}/24`, "dev", name]);
    await succeed("ip", ["-n", namespace.name, "link", "set", name, "up"]);
  }
}
