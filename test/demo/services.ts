/** The third part of the demo: Services without kube-proxy, and an endpoint that is removed while clients connect. */
import type { Cleanup } from "../live/harness/cleanup.ts";
import { Cluster, ECHO_PORT, type Mode, type Node, type Pod } from "../live/harness/cluster.ts";
import type { Inside } from "../live/harness/inside.ts";
import { eventually } from "../live/harness/process.ts";
import { ServiceObjects } from "../live/harness/services.ts";
import { attachPods, type EpisodeOptions, settle } from "./episode.ts";
import type { Progress } from "./progress.ts";

export interface Serving extends EpisodeOptions {
  readonly cluster: Cluster;
  readonly clusterIps: Tried;
  readonly nodePorts: Tried;
  readonly leaving: Leaving;
  /** The time from TCP's first packet to its answer, by destination. */
  readonly latencies: readonly Latency[];
}

/** Attempted connections, each once. */
export interface Tried {
  readonly pairs: number;
  readonly reached: number;
  readonly failures: readonly string[];
}

export interface Leaving {
  readonly connections: number;
  readonly failures: readonly string[];
  /**
   * The time from the change of the EndpointSlice until no node's kernel has the endpoint, including the time to read
   * the kernel.
   */
  readonly goneMs: number;
  /** New connections that reached the endpoint after that. */
  readonly late: number;
}

export interface Latency {
  readonly way: string;
  readonly ms: readonly number[];
}

const NAME = "echo";
const PORT = 80;
const NODE_PORT = 30_080;
const VIPS = ["10.96.0.10", "fd00:10:96::a"] as const;
const DIALS = 200;
/** The load's duration before and after the endpoint's removal. */
const BEFORE_MS = 1000;
const AFTER_MS = 1500;

export async function playServices(
  options: EpisodeOptions & { readonly mode: Mode },
  cleanup: Cleanup,
  progress: Pick<Progress, "step">,
): Promise<Serving> {
  const { mode, nodes, podsPerNode, families, attach } = options;
  progress.step("starting the API server");
  const cluster = await Cluster.start(mode, cleanup, { families, attach });
  cluster.weftdEnvironment = { WEFTD_SERVICE_PROXY: "nftables" };
  progress.step(`starting ${nodes} nodes, none with a kube-proxy`);
  for (let number = 1; number <= nodes; number++) await cluster.addNode(number);
  await settle(cluster);
  progress.step(`attaching ${podsPerNode} pods to each node`);
  for (const node of cluster.nodes) await attachPods(cluster, node, podsPerNode);
  for (const node of cluster.nodes) await leadSomewhere(cluster, node);

  const vips = VIPS.filter((_, at) => (at === 0 ? families !== "ipv6" : families !== "ipv4"));
  const objects = new ServiceObjects(cluster);
  progress.step(`creating a Service with ${cluster.pods.length} endpoints`);
  await objects.create(NAME, {
    ...{ type: "NodePort", clusterIP: vips[0], clusterIPs: vips, ipFamilies: vips.map(familyName) },
    ports: [{ name: "http", protocol: "TCP", port: PORT, nodePort: NODE_PORT }],
  });
  for (const at of vips.keys()) await objects.createSlice(NAME, ECHO_PORT, endpoints(cluster.pods, at));
  await everyNodeHas(cluster, cluster.pods);

  progress.step("connecting every pod and node to the ClusterIP, and every node to every NodePort");
  const clusterIps = await connectAll(
    [...cluster.pods, ...cluster.nodes],
    vips.map((vip) => [vip, PORT, "the ClusterIP"]),
  );
  const nodePorts = await connectAll(
    cluster.nodes,
    cluster.nodes.flatMap((node) =>
      addressesOf(cluster, node).map((address) => [address, NODE_PORT, `${node.name}'s NodePort`] as const),
    ),
  );
  progress.step("removing an endpoint while pods and nodes connect");
  const leaving = await leave(cluster, objects, vips);
  progress.step("measuring first packets");
  const latencies = await measureLatencies(cluster, vips[0] as string);
  return { ...options, cluster, clusterIps, nodePorts, leaving, latencies };
}

const familyName = (address: string) => (address.includes(":") ? "IPv6" : "IPv4");

function endpoints(pods: readonly Pod[], at: number, leaving?: Pod) {
  return pods.map((pod) => ({
    ...{ address: pod.addresses[at] ?? "", node: pod.node.name },
    conditions: pod === leaving ? { ready: false, serving: true, terminating: true } : { ready: true },
  }));
}

function addressesOf(cluster: Cluster, { number }: Node): string[] {
  return [
    ...(cluster.families === "ipv6" ? [] : [`192.0.2.${number}`]),
    ...(cluster.families === "ipv4" ? [] : [`2001:db8::${number}`]),
  ];
}

/** A node's own connection to a ClusterIP needs a route before rules apply; any destination works. */
async function leadSomewhere(cluster: Cluster, node: Node): Promise<void> {
  const other = cluster.nodes.find((one) => one !== node);
  for (const gateway of other === undefined ? [] : addressesOf(cluster, other))
    await node.inside.succeed("ip", ["route", "add", "default", "via", gateway]);
}

/** Waits until the kernels of all nodes have exactly `pods` as endpoints. */
async function everyNodeHas(cluster: Cluster, pods: readonly Pod[]): Promise<void> {
  const wanted = pods
    .flatMap(({ addresses }) => addresses)
    .sort()
    .join(", ");
  for (const node of cluster.nodes) {
    await eventually(async () => {
      const held = [...new Set((await Promise.all([4, 6].map((family) => endpointsOf(node, family)))).flat())]
        .sort()
        .join(", ");
      if (held !== wanted)
        throw new Error(`${node.name} has the endpoints ${held || "(none)"}: expected ${wanted}\n${node.weftd.output}`);
    });
  }
}

/** The endpoints of the Service, as nft shows them: no other Service has this port. */
async function endpointsOf({ inside }: Node, family: number): Promise<string[]> {
  const { stdout } = await inside.run("nft", ["-n", "list", "map", "inet", "weft-services", `endpoints${family}`]);
  return [...stdout.matchAll(/ : ([0-9a-f.:]+) \. (\d+)/g)].flatMap(([, address = "", port]) =>
    Number(port) === ECHO_PORT ? [address] : [],
  );
}

type Client = Pick<Pod | Node, "name" | "inside">;

async function connectAll(
  clients: readonly Client[],
  targets: readonly (readonly [host: string, port: number, what: string])[],
): Promise<Tried> {
  const pairs = clients.flatMap((client) => targets.map((target) => ({ client, target })));
  const results = await Promise.all(
    pairs.map(async ({ client, target: [host, port, what] }) => {
      const failure = await connect(client.inside, host, port);
      return failure === undefined ? [] : [`${client.name} -> ${what} (${host}:${port}): ${failure}`];
    }),
  );
  const failures = results.flat();
  return { pairs: pairs.length, reached: pairs.length - failures.length, failures };
}

/** Returns the error; undefined if the connection succeeds. */
async function connect(inside: Inside, host: string, port: number): Promise<string | undefined> {
  try {
    await inside.seenBy(host, port);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** One pod terminates as in a rolling update: it serves until no node has it as an endpoint, and is then removed. */
async function leave(cluster: Cluster, objects: ServiceObjects, vips: readonly string[]): Promise<Leaving> {
  const pod = cluster.pods.at(-1) as Pod;
  const others = cluster.pods.filter((one) => one !== pod);
  const clients: Client[] = [...others, ...cluster.nodes];
  const load = new Load(clients, vips);
  await load.lasts(BEFORE_MS);
  const began = performance.now();
  for (const at of vips.keys()) await objects.changeSlice(NAME, endpoints(cluster.pods, at, pod));
  await everyNodeHas(cluster, others);
  const goneMs = performance.now() - began;
  const before = await connectionsTo(pod);
  await load.lasts(AFTER_MS / 2);
  const late = (await connectionsTo(pod)) - before;
  for (const at of vips.keys()) await objects.changeSlice(NAME, endpoints(others, at));
  await cluster.removePod(pod);
  await load.lasts(AFTER_MS / 2);
  return { ...(await load.stop()), goneMs, late };
}

/** Number of TCP connections that the pod has accepted since its start (RFC 4022, tcpPassiveOpens). */
async function connectionsTo({ inside }: Pod): Promise<number> {
  const lines = (await inside.succeed("cat", ["/proc/net/snmp"])).split("\n").filter((line) => line.startsWith("Tcp:"));
  const [names = [], values = []] = lines.map((line) => line.split(" "));
  return Number(values[names.indexOf("PassiveOpens")]);
}

/** Each client opens one connection after another. */
class Load {
  #isOver = false;
  #connections = 0;
  readonly #failures: string[] = [];
  readonly #running: Promise<unknown>;

  constructor(clients: readonly Client[], vips: readonly string[]) {
    this.#running = Promise.all(
      clients.map(async ({ name, inside }) => {
        for (let at = 0; !this.#isOver; at++) {
          const vip = vips[at % vips.length] as string;
          const failure = await connect(inside, vip, PORT);
          this.#connections++;
          if (failure !== undefined) this.#failures.push(`${name} -> ${vip}: ${failure}`);
        }
      }),
    );
  }

  lasts(ms: number): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, ms));
  }

  async stop(): Promise<Pick<Leaving, "connections" | "failures">> {
    this.#isOver = true;
    await this.#running;
    return { connections: this.#connections, failures: this.#failures };
  }
}

async function measureLatencies(cluster: Cluster, vip: string): Promise<Latency[]> {
  const [client, ...rest] = cluster.pods;
  const remote = rest.find(({ node }) => node !== client?.node) ?? rest[0];
  if (client === undefined || remote === undefined) return [];
  const family = vip.includes(":") ? 1 : 0;
  const index = cluster.families === "dual" ? family : 0;
  const nodeAddress = addressesOf(cluster, client.node)[index] ?? "";
  const ways: [string, string, number][] = [
    ["a pod directly", remote.addresses[index] ?? "", ECHO_PORT],
    ["the ClusterIP", vip, PORT],
    ["the NodePort", nodeAddress, NODE_PORT],
  ];
  const latencies: Latency[] = [];
  for (const [way, host, port] of ways) latencies.push({ way, ms: await client.inside.dial(host, port, DIALS) });
  return latencies;
}
