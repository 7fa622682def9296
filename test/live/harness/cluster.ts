/** A cluster on one machine: nodes and an API server on one link, a weftd on each node, and pods. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { askControl, type ControlRequest, type Sight } from "../../apiserver/control.ts";
import type { HttpAnswer } from "./agent.ts";
import type { Cleanup } from "./cleanup.ts";
import { succeed } from "./command.ts";
import { makeFolder } from "./folder.ts";
import { Inside, withState } from "./inside.ts";
import { makeNamespace, type Namespace, removeNamespace } from "./namespace.ts";
import { eventually, Running } from "./process.ts";
import { Runtime, type RuntimePod } from "./runtime.ts";

const REPOSITORY = resolve(new URL("../../..", import.meta.url).pathname);
export const BIN = `${REPOSITORY}/dist/bin`;
const API_SERVER = `${REPOSITORY}/test/apiserver/main.ts`;

/** The backend's type in net-conf.json. */
export type Mode = string;
export type Families = "ipv4" | "ipv6" | "dual";

export interface ClusterOptions {
  /** The families of the pods and of the link between nodes. Default: ipv4. */
  readonly families?: Families;
  /** The families of the link between nodes, if they differ from the pods'. */
  readonly underlay?: Families;
  /** How pods attach to their node. Default: bridge. */
  readonly attach?: "bridge" | "ptp";
  /** The folder of the executables. Default: this tree's. */
  readonly bin?: string;
  /** weftd's log level. Default: debug. */
  readonly logLevel?: "debug" | "info";
  /**
   * The API server speaks TLS and applies the RBAC rules and policies of this manifest to each token. Default: plain
   * HTTP, all rights.
   */
  readonly rbac?: string;
}

export interface Pod {
  readonly name: string;
  readonly node: Node;
  readonly namespace: Namespace;
  readonly inside: Inside;
  readonly address: string;
  /** One of each family. */
  readonly addresses: readonly string[];
  readonly addMs: number;
}

/** A node without any program of weft. */
export interface Machine {
  readonly name: string;
  readonly number: number;
  readonly address: string;
  readonly namespace: Namespace;
  readonly inside: Inside;
  readonly confDir: string;
  readonly runDir: string;
  /** The folder that the node sees as /var/lib/cni. */
  readonly stateDir: string;
  /** This node's net-conf.json. */
  readonly netConf: string;
}

export interface Node extends Machine {
  readonly runtime: Runtime;
  weftd: Running;
}

/** The link between the nodes uses TEST-NET-1 (RFC 5737) and the documentation prefix (RFC 3849). */
const addressesOf = (number: number, families: Families) => [
  ...(families === "ipv6" ? [] : [`192.0.2.${number}`]),
  ...(families === "ipv4" ? [] : [`2001:db8::${number}`]),
];
const subnetsOf = (number: number, families: Families) => [
  ...(families === "ipv6" ? [] : [`10.244.${number}.0/24`]),
  ...(families === "ipv4" ? [] : [`fd00:10:244:${number}::/64`]),
];
const NETWORKS: Readonly<Record<Families, object>> = {
  ipv4: { Network: "10.244.0.0/16" },
  ipv6: { EnableIPv4: false, EnableIPv6: true, IPv6Network: "fd00:10:244::/48" },
  dual: { Network: "10.244.0.0/16", EnableIPv6: true, IPv6Network: "fd00:10:244::/48" },
};
const API_NUMBER = 250;
const API_PORT = 6443;
const TLS = `${REPOSITORY}/test/vectors/tls`;
export const ECHO_PORT = 7007;

export class Cluster {
  readonly mode: Mode;
  readonly families: Families;
  readonly #underlay: Families;
  /** Applies to each weftd started from now on. */
  attach: "bridge" | "ptp";
  readonly #logLevel: "debug" | "info";
  readonly #rbac: string | undefined;
  readonly #bin: string;
  readonly nodes: Node[] = [];
  readonly pods: Pod[] = [];
  /** Environment variables for each weftd started from now on, in addition to this process's. */
  weftdEnvironment: Readonly<Record<string, string>> = {};
  readonly #cleanup: Cleanup;
  readonly #folder: string;
  readonly #link: Namespace;
  #api: { readonly inside: Inside; readonly server: Running } | undefined;

  private constructor(mode: Mode, options: ClusterOptions, cleanup: Cleanup, folder: string, link: Namespace) {
    this.mode = mode;
    this.families = options.families ?? "ipv4";
    this.#underlay = options.underlay ?? this.families;
    this.attach = options.attach ?? "bridge";
    this.#logLevel = options.logLevel ?? "debug";
    this.#rbac = options.rbac;
    this.#bin = options.bin ?? BIN;
    this.#cleanup = cleanup;
    this.#folder = folder;
    this.#link = link;
  }

  /** Starts the link and the API server. `addNode` adds nodes. */
  static async start(mode: Mode, cleanup: Cleanup, options: ClusterOptions = {}): Promise<Cluster> {
    const folder = makeFolder(mode, cleanup);
    const link = await makeNamespace(`${mode}-link`, cleanup);
    await succeed("ip", ["-n", link.name, "-batch", "-"], { input: "link add br0 type bridge\nlink set br0 up\n" });
    const cluster = new Cluster(mode, options, cleanup, folder, link);
    await cluster.#startApi();
    return cluster;
  }

  /** Path of the kubeconfig that every weftd uses. */
  get kubeconfig(): string {
    return `${this.#folder}/kubeconfig`;
  }

  get #controlSocket(): string {
    return `${this.#folder}/api.sock`;
  }

  /** Rewrites a node's net-conf.json. weftd reloads it, or reads it when it starts again. */
  configure({ netConf }: Pick<Node, "netConf">, backend: object): void {
    writeFileSync(netConf, JSON.stringify({ ...NETWORKS[this.families], Backend: backend }));
  }

  /** The addresses that a node, or the API server, has on the link. */
  addressesOf(number: number): readonly [string, ...string[]] {
    return addressesOf(number, this.#underlay) as [string, ...string[]];
  }

  /** Host (an IPv6 address in brackets) and port at which nodes reach the API server. */
  get apiAddress(): { readonly host: string; readonly port: number } {
    return { host: this.#apiHost, port: API_PORT };
  }

  get #apiHost(): string {
    const [address] = this.addressesOf(API_NUMBER);
    return address.includes(":") ? `[${address}]` : address;
  }

  /** The pod subnets of a node. */
  subnetsOf({ number }: Pick<Node, "number">): readonly string[] {
    return subnetsOf(number, this.families);
  }

  async #plugIn(namespace: Namespace, number: number): Promise<void> {
    await this.#connect(namespace, `port${number}`, "eth0");
    const commands = this.addressesOf(number).map(
      (address) => `address add ${address}/${address.includes(":") ? 64 : 24} dev eth0 nodad\n`,
    );
    await succeed("ip", ["-n", namespace.name, "-batch", "-"], { input: commands.join("") });
  }

  /** Gives a node a second interface on the link, eth1, without an address. */
  plugInSecond({ namespace, number }: Node): Promise<void> {
    return this.#connect(namespace, `second${number}`, "eth1");
  }

  async #connect({ name }: Namespace, port: string, device: string): Promise<void> {
    const link = this.#link.name;
    const commands = [`link add ${port} type veth peer name ${device} netns ${name}`, `link set ${port} master br0 up`];
    await succeed("ip", ["-n", link, "-batch", "-"], { input: `${commands.join("\n")}\n` });
    await succeed("ip", ["-n", name, "link", "set", device, "up"]);
  }

  async #startApi(): Promise<void> {
    const namespace = await makeNamespace(`${this.mode}-api`, this.#cleanup);
    await this.#plugIn(namespace, API_NUMBER);
    const listen = `${this.#apiHost}:${API_PORT}`;
    const server = new Running(
      namespace,
      process.execPath,
      [
        ...[API_SERVER, "--listen", listen, "--kubeconfig-out", this.kubeconfig],
        ...["--control-socket", this.#controlSocket],
        ...(this.#rbac === undefined ? [] : ["--rbac", this.#rbac, "--tls-cert", `${TLS}/server.crt`]),
        ...(this.#rbac === undefined ? [] : ["--tls-key", `${TLS}/server.key`, "--tls-ca", `${TLS}/ca.crt`]),
      ],
      this.#cleanup,
    );
    const [inside] = await Promise.all([Inside.enter(namespace, this.#cleanup), server.says(/"ready":true/)]);
    this.#api = { inside, server };
  }

  /** Runs a program in the namespace of the link between the nodes. */
  link(file: string, args: readonly string[]): Promise<string> {
    return succeed("ip", ["netns", "exec", this.#link.name, file, ...args]);
  }

  /** Sends a request to the API server from the server's own namespace. */
  async api(method: string, path: string, body?: unknown): Promise<unknown> {
    if (this.#api === undefined) throw new Error("the API server has not been started");
    const url = `${this.#rbac === undefined ? "http" : "https"}://${this.#apiHost}:${API_PORT}${path}`;
    const { status, body: text } = await this.#api.inside.ask(url, {
      method,
      headers: { "content-type": method === "PATCH" ? "application/merge-patch+json" : "application/json" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      ...(this.#rbac === undefined ? {} : { ca: `${TLS}/ca.crt` }),
    });
    if (status < 200 || status > 299) throw new Error(`${method} ${url}: ${status}: ${text}`);
    return JSON.parse(text);
  }

  /** Makes the API server do what no client can request. Returns what the server has seen. */
  standIn(order: ControlRequest = {}): Promise<Sight> {
    return askControl(this.#controlSocket, order);
  }

  /**
   * Stops or continues the API server's process by signal. While it is stopped, connections stay open and nothing is
   * answered.
   */
  freezeApi(signal: "SIGSTOP" | "SIGCONT"): void {
    this.#api?.server.signal(signal);
  }

  /**
   * Creates the Node with its subnet, its namespace, and its weftd. Resolves when the node is ready. `prepare` runs
   * before weftd starts. `subnets` is the number of another node whose subnets the Node gets.
   */
  async addNode(
    number: number,
    prepare?: (machine: Machine) => Promise<void>,
    subnets: number = number,
  ): Promise<Node> {
    const node = await this.#boot(`n${number}`, number, subnetsOf(subnets, this.families), prepare);
    this.nodes.push(node);
    await this.ready(node);
    return node;
  }

  /** A Node without a subnet; its weftd runs. */
  startUnassigned(name: string, number: number): Promise<Node> {
    return this.#boot(name, number, []);
  }

  async #boot(
    name: string,
    number: number,
    podCIDRs: readonly string[],
    prepare: (machine: Machine) => Promise<void> = async () => undefined,
  ): Promise<Node> {
    const machine = await this.#plugInMachine(name, number, podCIDRs);
    await prepare(machine);
    return {
      ...machine,
      runtime: new Runtime(machine.inside, machine.confDir, this.#bin),
      weftd: this.#startWeftd(machine),
    };
  }

  /** A Node with its subnet and its namespace, without any program of weft. */
  addMachine(number: number): Promise<Machine> {
    return this.#plugInMachine(`n${number}`, number, subnetsOf(number, this.families));
  }

  async #plugInMachine(name: string, number: number, podCIDRs: readonly string[]): Promise<Machine> {
    const namespace = await makeNamespace(`${this.mode}-${name}`, this.#cleanup);
    const folder = `${this.#folder}/${name}`;
    const [confDir, runDir, stateDir] = ["net.d", "run", "state"].map((part) => `${folder}/${part}`) as [
      string,
      string,
      string,
    ];
    for (const directory of [confDir, runDir, stateDir]) mkdirSync(directory, { recursive: true });
    const [inside] = await Promise.all([
      Inside.enter(namespace, this.#cleanup, stateDir),
      this.#plugIn(namespace, number).then(() => this.#register(name, number, podCIDRs)),
    ]);
    const netConf = `${folder}/net-conf.json`;
    this.configure({ netConf }, { Type: this.mode });
    const [address] = this.addressesOf(number);
    return { name, number, address, namespace, inside, confDir, runDir, stateDir, netConf };
  }

  #startWeftd({ name, namespace, confDir, runDir, stateDir, netConf }: Machine, weftd = `${this.#bin}/weftd`): Running {
    const environment = Object.entries(this.weftdEnvironment).map(([name, value]) => `${name}=${value}`);
    const [file = "", ...args] = withState(stateDir, [
      ...["env", ...environment, weftd],
      ...["--kubeconfig", this.kubeconfig, "--node-name", name, "--net-conf", netConf],
      // Earlier builds lack some flags.
      ...(this.attach === "bridge" ? [] : ["--attach", this.attach]),
      ...["--cni-conf-dir", confDir, "--run-dir", runDir, "--log-level", this.#logLevel],
    ]);
    return new Running(namespace, file, args, this.#cleanup);
  }

  /** Starts the node's weftd again after it was stopped or killed. `weftd` is the program of another build. */
  restartWeftd(node: Node, weftd?: string): void {
    node.weftd = this.#startWeftd(node, weftd);
  }

  /** Waits until the node's /readyz reports ready. */
  async ready(node: Node): Promise<void> {
    await eventually(async () => {
      const { status, body } = await this.readyz(node);
      if (status !== 200) throw new Error(`${node.name} is not ready: ${body}\n${node.weftd.output}`);
    }, 15_000);
  }

  readyz(node: Node): Promise<HttpAnswer> {
    return this.status(node, "/readyz");
  }

  /** The answer of the node's weftd to a request from the node itself. */
  status({ inside }: Node, path: string): Promise<HttpAnswer> {
    return inside.ask(`http://127.0.0.1:9468${path}`);
  }

  /** Deletes the Node object. Its machine runs until `stopNode`. */
  async deleteNode(node: Node): Promise<void> {
    await this.api("DELETE", `/api/v1/nodes/${node.name}`);
    this.nodes.splice(this.nodes.indexOf(node), 1);
  }

  /** Deletes the Node and creates it again with the subnets of number `subnets`. Its machine and pods keep running. */
  async renumber({ name, number }: Node, subnets: number): Promise<void> {
    await this.api("DELETE", `/api/v1/nodes/${name}`);
    await this.#register(name, number, subnetsOf(subnets, this.families));
  }

  async #register(name: string, number: number, podCIDRs: readonly string[]): Promise<void> {
    await this.api("POST", "/api/v1/nodes", {
      ...{ apiVersion: "v1", kind: "Node", metadata: { name } },
      spec: podCIDRs.length === 0 ? {} : { podCIDR: podCIDRs[0], podCIDRs },
      status: { addresses: this.addressesOf(number).map((address) => ({ type: "InternalIP", address })) },
    });
  }

  /** Removes a deleted node's machine and its pods. */
  async stopNode(node: Node): Promise<void> {
    for (const pod of this.pods.filter((one) => one.node === node)) await this.removePod(pod);
    await node.weftd.stop("SIGTERM");
    await node.inside.close();
    await removeNamespace(node.namespace.name);
  }

  /** `identity` is what the runtime says about the pod in the API; most tests have no Pod objects. */
  async addPod(node: Node, label: string, identity?: RuntimePod): Promise<Pod> {
    const name = `${node.name}-${label}`;
    const namespace = await makeNamespace(`${this.mode}-${name}`, this.#cleanup);
    const { result, ms } = await node.runtime.add(name, namespace.path, identity);
    const inside = await Inside.enter(namespace, this.#cleanup);
    await inside.listen(ECHO_PORT);
    const addresses = result.ips.map((ip) => ip.address.replace(/\/.*$/, ""));
    const pod: Pod = { name, node, namespace, inside, address: addresses[0] ?? "", addresses, addMs: ms };
    this.pods.push(pod);
    return pod;
  }

  async removePod(pod: Pod): Promise<void> {
    await pod.node.runtime.del(pod.name, pod.namespace.path);
    await pod.inside.close();
    await removeNamespace(pod.namespace.name);
    this.pods.splice(this.pods.indexOf(pod), 1);
  }

  /** The node's routes that weftd made: subnet -> gateway. */
  async peerRoutes({ inside }: Node): Promise<ReadonlyMap<string, string>> {
    const routes: { dst: string; gateway: string }[] = [];
    for (const family of ["-4", "-6"])
      routes.push(...(await inside.json<typeof routes>("ip", [family, "-j", "route", "show", "proto", "119"])));
    return new Map(routes.map(({ dst, gateway }) => [dst, gateway]));
  }

  /** The text of the conflist that the node's runtime finds. */
  conflistText(node: Node): string {
    return readFileSync(`${node.confDir}/05-weft.conflist`, "utf8");
  }
}
