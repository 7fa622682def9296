/**
 * Pairs of nodes on one link, with a client on the first node of each pair and a server on the second. All pairs exist
 * at the same time, so that they are measured alternately.
 */
import { cpus } from "node:os";
import type { Family } from "../../../pkg/ip/address.ts";
import { Cleanup } from "../../live/harness/cleanup.ts";
import { Cluster, type Machine, type Pod } from "../../live/harness/cluster.ts";
import { succeed } from "../../live/harness/command.ts";
import { compiled } from "../../live/harness/compiled.ts";
import { makeNamespace, type Namespace } from "../../live/harness/namespace.ts";
import { PolicyObjects } from "../../live/harness/policies.ts";
import { eventually, Running } from "../../live/harness/process.ts";
import { type End, handMade, type Mode, podAddress } from "./hand-made.ts";
import { type Measure, SIDES, type Side } from "./report.ts";

const TRAFFIC = new URL("./traffic.c", import.meta.url);
const PORT = "5001";
/** Clients of streams have another processor than the servers. */
const CLIENT_CPU = "0";
const SERVER_CPU = String(Math.min(1, cpus().length - 1));

/** The numbers of both nodes of a pair. */
const NUMBERS = { bare: [1, 2], byHand: [3, 4], weft: [5, 6], routed: [7, 8], full: [9, 10] } as const;

interface Path {
  readonly client: Namespace;
  readonly server: Namespace;
  readonly address: Readonly<Record<Family, string>>;
}

/** What one run of the traffic program measures, in base units. */
export type Measured = Partial<Record<Measure, number>>;

/** The kinds of traffic, each with its arguments and the measures that its output contains. */
const KINDS = [
  { command: "stream", count: ["1"], measures: ["stream"] },
  { command: "stream", count: ["8"], measures: ["streams"] },
  { command: "ask", count: [], measures: ["latency", "tail"] },
  { command: "connect", count: [], measures: ["connections"] },
] as const;
export type Kind = (typeof KINDS)[number];

export class DataPathBed {
  static readonly kinds: readonly Kind[] = KINDS;
  readonly #traffic: string;
  readonly #paths: Readonly<Record<Side, Path>>;
  readonly #cleanup: Cleanup;

  private constructor(traffic: string, paths: Readonly<Record<Side, Path>>, cleanup: Cleanup) {
    this.#traffic = traffic;
    this.#paths = paths;
    this.#cleanup = cleanup;
  }

  static async make(mode: Mode): Promise<DataPathBed> {
    const cleanup = new Cleanup();
    try {
      const traffic = await compiled(TRAFFIC, cleanup);
      const cluster = await Cluster.start(mode, cleanup, { families: "dual", logLevel: "info" });
      const bare = await handMadePair(cluster, mode, NUMBERS.bare, false, cleanup);
      const byHand = await handMadePair(cluster, mode, NUMBERS.byHand, true, cleanup);
      cluster.weftdEnvironment = { WEFTD_NETWORK_POLICY: "off" };
      const weft = await weftPair(cluster, NUMBERS.weft);
      cluster.attach = "ptp";
      const routed = await weftPair(cluster, NUMBERS.routed);
      cluster.attach = "bridge";
      cluster.weftdEnvironment = { WEFTD_SERVICE_PROXY: "nftables" };
      const full = await isolatedPair(cluster, NUMBERS.full);
      const paths = { nodes: bare.nodes, bare: bare.pods, byHand: byHand.pods, weft, routed, full };
      for (const side of SIDES) {
        const serve = ["-c", SERVER_CPU, traffic, "serve", PORT];
        await new Running(paths[side].server, "taskset", serve, cleanup).says(/ready/);
      }
      const bed = new DataPathBed(traffic, paths, cleanup);
      // weftd programs peers and policies some time after its node is ready.
      for (const side of SIDES)
        for (const family of [4, 6] as const) await eventually(() => bed.measure(side, family, KINDS[2], 10));
      return bed;
    } catch (error) {
      await cleanup.run();
      throw error;
    }
  }

  close(): Promise<void> {
    return this.#cleanup.run();
  }

  /** Sends one kind of traffic over a path for `ms` milliseconds. */
  async measure(side: Side, family: Family, { command, count, measures }: Kind, ms: number): Promise<Measured> {
    const { client, address } = this.#paths[side];
    // The time to wake another processor would be most of the time of a request.
    const cpu = command === "stream" ? CLIENT_CPU : SERVER_CPU;
    const output = await succeed("timeout", [
      ...["10", "nsenter", `--net=${client.path}`, "taskset", "-c", cpu],
      ...[this.#traffic, command, address[family], PORT, ...count, String(ms)],
    ]);
    const values = output.trim().split(" ").map(Number);
    return Object.fromEntries(measures.map((measure, at) => [measure, values[at]]));
  }
}

async function handMadePair(
  cluster: Cluster,
  mode: Mode,
  numbers: readonly [number, number],
  hasRules: boolean,
  cleanup: Cleanup,
): Promise<{ readonly nodes: Path; readonly pods: Path }> {
  const machines = [await cluster.addMachine(numbers[0]), await cluster.addMachine(numbers[1])] as const;
  const pods = await Promise.all(numbers.map((number) => makeNamespace(`${mode}-hand${number}`, cleanup)));
  const [client, server] = pods as [Namespace, Namespace];
  const make = async (own: Machine, other: Machine, pod: Namespace) => {
    const ends = ([4, 6] as const).map((family) => endOf(cluster, family, own, other));
    const { number } = own;
    const commands = handMade({ mode, number, otherNumber: other.number, pod: pod.name, ends, hasRules });
    await own.inside.succeed("sh", ["-ec", commands.join("\n")]);
    return ends;
  };
  await make(machines[0], machines[1], client);
  const [four, six] = await make(machines[1], machines[0], server);
  if (four === undefined || six === undefined) throw new RangeError("both families are needed");
  return {
    nodes: {
      client: machines[0].namespace,
      server: machines[1].namespace,
      address: { 4: four.node, 6: six.node },
    },
    pods: { client, server, address: { 4: podAddress(four), 6: podAddress(six) } },
  };
}

function endOf(cluster: Cluster, family: Family, own: Machine, other: Machine): End {
  const at = family === 4 ? 0 : 1;
  const of = (machine: Machine) => ({
    node: cluster.addressesOf(machine.number)[at] ?? "",
    subnet: cluster.subnetsOf(machine)[at] ?? "",
  });
  const [{ node, subnet }, { node: otherNode, subnet: otherSubnet }] = [of(own), of(other)];
  return { family, node, otherNode, subnet, otherSubnet };
}

function pathOf(client: Pod, server: Pod): Path {
  const [four = "", six = ""] = server.addresses;
  return { client: client.namespace, server: server.namespace, address: { 4: four, 6: six } };
}

async function weftPair(cluster: Cluster, [first, second]: readonly [number, number]): Promise<Path> {
  const nodes = [await cluster.addNode(first), await cluster.addNode(second)] as const;
  return pathOf(await cluster.addPod(nodes[0], "client"), await cluster.addPod(nodes[1], "server"));
}

/** Policies isolate both pods. The server's policy allows the client by its label. */
async function isolatedPair(cluster: Cluster, [first, second]: readonly [number, number]): Promise<Path> {
  const nodes = [await cluster.addNode(first), await cluster.addNode(second)] as const;
  const objects = new PolicyObjects(cluster);
  const client = await objects.start(nodes[0], "client");
  const server = await objects.start(nodes[1], "server");
  await objects.isolate("client", "client");
  await objects.isolate("server", "server", ["client"]);
  return pathOf(client, server);
}
