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

/** How pods attach to their node: at ports of a bridge, or with a route of the node to each. */
export type Attach = "bridge" | "ptp";

/** Both pods of a node. */
const clientAt = (number: number) => `198.18.${number}.2`;
const serverAt = (number: number) => `198.19.${number}.2`;

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

  static async make(nodeCount: number, attach: Attach, isRealtime: boolean): Promise<PathsBed> {
    const cleanup = new Cleanup();
    try {
      const connect = await compiled(CONNECT, cleanup);
      const client = await makeNamespace("bench-client", cleanup);
      const server = await makeNamespace("bench-server", cleanup);
      const nodes: Namespace[] = [];
      for (let number = 0; number < nodeCount; number++) {
        const node = await makeNamespace(`bench-node${number}`, cleanup);
        await connectNode(client, node, server, number, attach);
        nodes.push(node);
      }
      const hosts = [await Inside.enter(client, cleanup), await Inside.enter(server, cleanup)] as const;
      await hosts[1].sink(PORT);
      // Programs that these start inherit the priority.
      const raise = ({ pid }: Inside) => succeed("chrt", ["--fifo", "--all-tasks", "--pid", "1", String(pid)]);
      if (isRealtime) for (const host of hosts) await raise(host);
      return new PathsBed(hosts[0], connect, nodes, cleanup);
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

async function connectNode(client: Namespace, node: Namespace, server: Namespace, number: number, attach: Attach) {
  const script = attach === "bridge" ? BRIDGE : "";
  const inNode = (command: string, input = "") =>
    succeed("ip", ["netns", "exec", node.name, "sh", "-ec", command], { input });
  await inNode(`sysctl -qw net.ipv4.ip_forward=1; nft -f -; ${script}`, BASE);
  for (const [pod, side, own, other] of [
    [client, "client", clientAt(number), serverAt(number)],
    [server, "server", serverAt(number), clientAt(number)],
  ] as const) {
    const device = `eth${number}`;
    const inPod = (...args: readonly string[]) => succeed("ip", ["-n", pod.name, ...args]);
    await inPod("link", "add", device, "type", "veth", "peer", "name", side, "netns", node.name);
    await inPod("address", "add", `${own}/32`, "dev", device);
    await inPod("link", "set", device, "up");
    await inNode(`ip link set ${side} up`);
    if (attach === "bridge") {
      await inNode(`ip link set ${side} master cni0`);
      await inPod("route", "add", other, "dev", device);
    } else {
      const gateway = `169.254.1.${number}`;
      await inNode(`ip address add ${gateway}/32 dev ${side}; ip route add ${own} dev ${side}`);
      await inPod("route", "add", gateway, "dev", device);
      await inPod("route", "add", other, "via", gateway, "dev", device);
    }
  }
}

/** Packets between ports of the bridge pass nf_tables as forwarded ones, as weft sets it up for policies. */
const BRIDGE = "ip link add cni0 type bridge; ip link set cni0 up; sysctl -qw net.bridge.bridge-nf-call-iptables=1";
