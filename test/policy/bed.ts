/**
 * A cluster of two nodes in which pods and nodes probe each other: the stand-in API server, a weftd on each node, pods
 * attached by the runtime's calls, and one prober with sockets in all of their namespaces.
 */
import type { PoliciesPage } from "../../command/node/policies-page.ts";
import { settle } from "../demo/episode.ts";
import type { Cleanup } from "../live/harness/cleanup.ts";
import { Cluster, type Node } from "../live/harness/cluster.ts";
import { makeNamespace, type Namespace, removeNamespace } from "../live/harness/namespace.ts";
import { PATIENCE } from "../live/harness/process.ts";
import type { Case } from "./case.ts";
import { MOST_ENDPOINTS, Prober } from "./prober.ts";
import {
  type Addresses,
  type Change,
  NODES,
  type NodeName,
  type PodRecord,
  PROTOCOLS,
  Scene,
  type Site,
} from "./scene.ts";
import {
  describeTable,
  type Endpoint,
  expectedTable,
  type Mismatch,
  mismatches,
  type ProbeClass,
  specified,
} from "./truth-table.ts";

/** How long a table waits for unexpected packets after the last expected reply: a packet takes much less here. */
const SETTLE_MS = 20 * PATIENCE;
/** The limit of a table with missing replies. Missing datagrams are sent again until then. */
const LIMIT_MS = 15_000 * PATIENCE;
/** The limit for a change to take effect. */
const EFFECT_MS = 15_000 * PATIENCE;
const EVERY_MS = 20;

const CLUSTER_NETWORK_POLICIES = {
  ...{ group: "policy.networking.k8s.io", version: "v1alpha2", plural: "clusternetworkpolicies" },
  ...{ kind: "ClusterNetworkPolicy", isNamespaced: false },
};

export interface BedOptions {
  readonly attach?: "bridge" | "ptp";
  /** The type of the backend. Default: vxlan. */
  readonly backend?: string;
  /** Environment of weftd. */
  readonly environment?: Readonly<Record<string, string>>;
}

export interface ProbeLimits {
  /** How long a change may take to have an effect: until then, unexpected packets cause another table. Default: 15 s. */
  readonly effectMs?: number;
  /** How long expected replies are waited for. Default: 15 s. */
  readonly limitMs?: number;
  /**
   * The expected table before the change, if the change is a single one and leaves the endpoints as they are. Probes that
   * both tables deny must be denied during the change.
   */
  readonly before?: string | undefined;
  /** The addresses to which pods send: those of the destinations, or of Services with these endpoints. */
  readonly by?: "address" | "service";
}

export interface TableOutcome {
  readonly endpoints: readonly (Endpoint | undefined)[];
  readonly expected: string;
  readonly results: string;
  readonly mismatches: readonly Mismatch[];
  /** The number of tables until this one, itself included. More than 1: packets passed before a change took effect. */
  readonly attempts: number;
}

/** Counts of the work that the bed has done. */
export interface Totals {
  tables: number;
  probes: number;
  /** Tables probed again because a change had not taken effect. */
  repeatedTables: number;
  /** Datagrams sent again because no reply had arrived. */
  repeatedPackets: number;
  probeMs: number;
}

export class PolicyBed {
  readonly scene: Scene;
  readonly totals: Totals = { tables: 0, probes: 0, repeatedTables: 0, repeatedPackets: 0, probeMs: 0 };
  readonly #cluster: Cluster;
  readonly #prober: Prober;
  readonly #cleanup: Cleanup;
  readonly #endpoints: (Endpoint | undefined)[] = [];
  readonly #namespaces = new Map<string, Namespace>();
  readonly #uids = new Map<string, string>();
  #attached = 0;

  private constructor(cluster: Cluster, prober: Prober, cleanup: Cleanup) {
    this.#cluster = cluster;
    this.#prober = prober;
    this.#cleanup = cleanup;
    const site: Site = {
      write: (change) => this.#write(change),
      attach: (pod) => this.#attach(pod),
      detach: (pod) => this.#detach(pod),
    };
    this.scene = new Scene(site);
  }

  static async start(cleanup: Cleanup, { attach, backend = "vxlan", environment = {} }: BedOptions = {}) {
    const options = { families: "dual", logLevel: "info", ...(attach && { attach }) } as const;
    const cluster = await Cluster.start(backend, cleanup, options);
    await cluster.standIn({ define: [CLUSTER_NETWORK_POLICIES] });
    cluster.weftdEnvironment = environment;
    for (const number of NODES.keys()) await cluster.addNode(number + 1, shortenConntrack);
    await settle(cluster);
    const bed = new PolicyBed(cluster, await Prober.start(cleanup), cleanup);
    await bed.scene.reset();
    await bed.#addNodes();
    return bed;
  }

  node(name: NodeName): Node {
    const node = this.#cluster.nodes.find((one) => one.name === name);
    if (node === undefined) throw new Error(`no node ${name}`);
    return node;
  }

  /** A node's report of its policies. */
  async page(name: NodeName): Promise<PoliciesPage> {
    const { status, body } = await this.#cluster.status(this.node(name), "/debug/policies");
    if (status !== 200) throw new Error(`/debug/policies of ${name}: ${status}: ${body}`);
    return JSON.parse(body) as PoliciesPage;
  }

  /** Kills a node's weftd. `startWeftd` starts it again. */
  async killWeftd(name: NodeName): Promise<void> {
    await this.node(name).weftd.stop("SIGKILL");
  }

  /** Starts a node's weftd again, and waits until it is ready. */
  async startWeftd(name: NodeName): Promise<void> {
    const node = this.node(name);
    this.#cluster.restartWeftd(node);
    await this.#cluster.ready(node);
  }

  /** Runs all steps of a case. Throws at the first table that differs from the specification. */
  async play({ steps }: Case): Promise<void> {
    await this.scene.reset();
    let before: string | undefined;
    for (const { title, actions } of steps) {
      const places = { addressOf: (pod: string, family: 4 | 6) => this.scene.addressOf(pod, family) };
      const list = actions(places);
      for (const action of list) await this.scene.perform(action);
      const isSingle = list.length === 1 && !list.some(({ do: what }) => /^(create|delete) /.test(what));
      const outcome = await this.probe(undefined, { before: isSingle ? before : undefined });
      if (outcome.mismatches.length > 0) throw new Error(await this.#complaint(title, outcome));
      before = outcome.expected;
    }
  }

  /** Probes all endpoints until the table is as expected, or until the limits. Expected packets may arrive late. */
  async probe(
    isReachable: (from: Endpoint, to: Endpoint, probe: ProbeClass) => boolean = specified(this.scene.world),
    { effectMs = EFFECT_MS, limitMs = LIMIT_MS, before, by = "address" }: ProbeLimits = {},
  ): Promise<TableOutcome> {
    const endpoints = [...this.#endpoints];
    const expected = expectedTable(endpoints, isReachable, by);
    const deadline = performance.now() + effectMs;
    for (let attempts = 1; ; attempts++) {
      const limits = { settleMs: SETTLE_MS, limitMs };
      const { ms, repeated, results } = await this.#prober.table(endpoints.length, expected, limits, by);
      this.totals.tables++;
      this.totals.probes += expected.replaceAll("-", "").length;
      this.totals.repeatedPackets += repeated;
      this.totals.probeMs += ms;
      const wrong = mismatches(endpoints, expected, results);
      const isLate = wrong.some((one) => one.expected === "0") && performance.now() < deadline;
      const isLeak = wrong.some((one) => one.expected === "0" && before?.[one.at] === "0");
      if (!isLate || isLeak) return { endpoints, expected, results, mismatches: wrong, attempts };
      this.totals.repeatedTables++;
      await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
    }
  }

  async #complaint(title: string, outcome: TableOutcome): Promise<string> {
    const { endpoints, expected, results, mismatches: wrong, attempts } = outcome;
    const world = this.scene.world;
    const nodes = this.#cluster.nodes.map(async (node) => {
      const { stdout } = await node.inside.run("nft", ["list", "table", "inet", "weft-policy"]);
      return `${node.name}'s rules:\n${stdout}\n${node.name}'s weftd:\n${node.weftd.output.slice(-2000)}`;
    });
    const verbose = process.env.WEFT_POLICY_VERBOSE === "1" ? await Promise.all(nodes) : [];
    return [
      `after "${title}", table ${attempts}: ${wrong.length} of ${expected.replaceAll("-", "").length} probes differ`,
      describeTable(endpoints, expected, results),
      `policies: ${JSON.stringify([...world.policies, ...world.clusterPolicies])}`,
      ...verbose,
    ].join("\n");
  }

  /** Creates a Service for each pod, with all ports and both families. Pods that are created later have none. */
  async createServices(): Promise<void> {
    for (const [index, endpoint] of this.#endpoints.entries()) {
      if (endpoint?.kind !== "pod") continue;
      const [namespace = "", name = ""] = endpoint.name.split("/");
      const addresses: Addresses = { 4: `10.96.1.${index + 1}`, 6: `fd00:10:96::1:${index + 1}` };
      const metadata = { namespace, name };
      const ports = SERVICE_PORTS.map(({ name: portName, protocol, port }) => ({ name: portName, protocol, port }));
      await this.#cluster.api("POST", `/api/v1/namespaces/${namespace}/services`, {
        ...{ apiVersion: "v1", kind: "Service", metadata },
        spec: {
          clusterIP: addresses[4],
          clusterIPs: [addresses[4], addresses[6]],
          ipFamilies: ["IPv4", "IPv6"],
          ports,
        },
      });
      for (const family of [4, 6] as const)
        await this.#cluster.api("POST", `/apis/discovery.k8s.io/v1/namespaces/${namespace}/endpointslices`, {
          ...{ apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", addressType: `IPv${family}`, ports },
          metadata: { namespace, name: `${name}-${family}`, labels: { "kubernetes.io/service-name": name } },
          endpoints: [
            { addresses: [endpoint.addresses[family]], conditions: { ready: true }, nodeName: endpoint.node },
          ],
        });
      await this.#prober.setService(index, addresses);
    }
  }

  async #addNodes(): Promise<void> {
    for (const name of NODES) {
      const { number, namespace } = this.node(name);
      // The address of the pods' gateway: replies come from the address that a probe was sent to.
      const addresses: Addresses = { 4: `10.244.${number}.1`, 6: `fd00:10:244:${number}::1` };
      const endpoint: Endpoint = {
        ...{ name, kind: "node", node: name, addresses },
        sources: await this.#sources(name),
      };
      await this.#add(endpoint, namespace);
    }
  }

  /** The source addresses of a node's packets to pods, as its routes choose them. */
  async #sources(name: NodeName): Promise<Readonly<Record<NodeName, Addresses>>> {
    const entries = NODES.map(async (other) => {
      const pod = this.scene.pods.find(({ node }) => node === other);
      const addresses = await Promise.all(
        ([4, 6] as const).map(async (family) => {
          const to = pod?.addresses?.[family] ?? "";
          const [route] = await this.node(name).inside.json<[{ prefsrc: string }]>("ip", ["-j", "route", "get", to]);
          return [family, route.prefsrc] as const;
        }),
      );
      return [other, Object.fromEntries(addresses) as unknown as Addresses] as const;
    });
    return Object.fromEntries(await Promise.all(entries)) as Record<NodeName, Addresses>;
  }

  async #add(endpoint: Endpoint, { path }: Namespace): Promise<void> {
    const free = this.#endpoints.indexOf(undefined);
    const index = free < 0 ? this.#endpoints.length : free;
    if (index >= MOST_ENDPOINTS) throw new Error("too many endpoints");
    this.#endpoints[index] = endpoint;
    await this.#prober.add(index, endpoint.kind, path, endpoint.addresses);
  }

  async #attach({ key, namespace, name, node: nodeName }: PodRecord): Promise<Addresses> {
    const node = this.node(nodeName);
    const place = await makeNamespace(`pod${++this.#attached}`, this.#cleanup);
    const uid = this.#uids.get(key) ?? "";
    const { result } = await node.runtime.add(place.name, place.path, { namespace, name, uid });
    const texts = result.ips.map(({ address }) => address.replace(/\/.*$/, ""));
    const [four, six] = [texts.find((text) => !text.includes(":")), texts.find((text) => text.includes(":"))];
    if (four === undefined || six === undefined) throw new Error(`${key} has the addresses ${texts.join(", ")}`);
    const addresses: Addresses = { 4: four, 6: six };
    this.#namespaces.set(key, place);
    await this.#add({ name: key, kind: "pod", node: nodeName, addresses }, place);
    return addresses;
  }

  async #detach({ key, node }: PodRecord): Promise<void> {
    const place = this.#namespaces.get(key);
    if (place === undefined) throw new Error(`${key} is not attached`);
    const index = this.#endpoints.findIndex((endpoint) => endpoint?.name === key);
    this.#endpoints[index] = undefined;
    await this.#prober.remove(index);
    await this.node(node).runtime.del(place.name, place.path);
    await removeNamespace(place.name);
    this.#namespaces.delete(key);
  }

  async #write({ kind, key, object: given, isNew }: Change): Promise<void> {
    const { collection, target } = PATHS[kind](key);
    // The API server chooses uids.
    const object = given && { ...given, metadata: { ...given.metadata, uid: undefined } };
    if (object === undefined) await this.#cluster.api("DELETE", target);
    else if (!isNew) await this.#cluster.api("PUT", target, object);
    else {
      const { metadata } = (await this.#cluster.api("POST", collection, object)) as { metadata: { uid: string } };
      if (kind === "pod") this.#uids.set(key, metadata.uid);
    }
    if (kind === "pod" && object?.status.podIPs) await this.#cluster.api("PUT", `${target}/status`, object);
  }
}

const SERVICE_PORTS = PROTOCOLS.flatMap((protocol) =>
  [80, 81].map((port) => ({ name: `${protocol.toLowerCase()}-${port}`, protocol, port })),
);

interface Paths {
  readonly collection: string;
  readonly target: string;
}

const namespaced = (group: string, plural: string) => (key: string) => {
  const [namespace, name] = key.split("/");
  const collection = `${group}/namespaces/${namespace}/${plural}`;
  return { collection, target: `${collection}/${name}` };
};

const unnamespaced = (collection: string) => (key: string) => ({ collection, target: `${collection}/${key}` });

const PATHS: Readonly<Record<Change["kind"], (key: string) => Paths>> = {
  namespace: unnamespaced("/api/v1/namespaces"),
  pod: namespaced("/api/v1", "pods"),
  policy: namespaced("/apis/networking.k8s.io/v1", "networkpolicies"),
  "cluster policy": unnamespaced("/apis/policy.networking.k8s.io/v1alpha2/clusternetworkpolicies"),
};

/** Each table leaves more than a thousand entries in each node's conntrack: they must end before the table is full. */
async function shortenConntrack({ inside }: Pick<Node, "inside">): Promise<void> {
  for (const name of ["udp_timeout", "udp_timeout_stream", "icmp_timeout", "icmpv6_timeout", "tcp_timeout_close"])
    await inside.succeed("sysctl", ["-q", "-w", `net.netfilter.nf_conntrack_${name}=5`]);
}
