/** The calls that can be profiled: chains of plugins in network namespaces, with pods that are attached already. */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";

type Configuration = Readonly<Record<string, unknown>> & { readonly type: string };

const IPAM = {
  type: "host-local",
  ranges: [[{ subnet: "10.240.0.0/16" }]],
  routes: [{ dst: "10.96.0.0/12" }],
};
const BRIDGE = { type: "bridge", bridge: "profile0", isDefaultGateway: true, hairpinMode: true, mtu: 1450, ipam: IPAM };
const LOOPBACK = { type: "loopback" };

/** Each chain with the plugins of its calls, in the order of ADD. */
export const CHAINS = {
  bridge: [BRIDGE],
  masquerade: [{ ...BRIDGE, ipMasq: true, ipMasqBackend: "nftables" }],
  ptp: [{ type: "ptp", mtu: 1450, ipam: IPAM }],
  "host-local": [{ type: "host-local", ipam: IPAM }],
  firewall: [BRIDGE, { type: "firewall" }],
  kubernetes: [
    LOOPBACK,
    BRIDGE,
    {
      type: "portmap",
      snat: true,
      backend: "nftables",
    },
    { type: "bandwidth", ingressRate: 1e8, ingressBurst: 1e7, egressRate: 1e8, egressBurst: 1e7 },
  ],
} satisfies Readonly<Record<string, readonly Configuration[]>>;
export type Chain = keyof typeof CHAINS;

export const VERBS = ["ADD", "DEL", "CHECK", "STATUS", "VERSION"] as const;
export type Verb = (typeof VERBS)[number];

/** Starts a call's program. `command` is the plugin's executable. */
export type Start = (plugin: string, command: string) => readonly string[];

export class Bed {
  readonly #bin: string;
  readonly #folder = mkdtempSync(`${tmpdir()}/weft-profile-`);
  readonly #node = `weft-profile-${process.pid}`;
  readonly #plugins: readonly Configuration[];
  readonly #results = new Map<number, unknown>();
  #pods = 0;

  /** `bin` is the folder of the executables. */
  constructor(bin: string, chain: Chain) {
    this.#bin = bin;
    this.#plugins = CHAINS[chain];
    this.#makeNamespace(this.#node);
  }

  /** Attaches another pod, and returns its number. */
  attach(start?: Start, called?: (plugin: string) => void): number {
    const pod = this.#pods++;
    this.#makeNamespace(this.#name(pod));
    this.call(pod, "ADD", start, called);
    return pod;
  }

  /** Calls all plugins of the chain for a pod. `called` runs after each of them. */
  call(
    pod: number,
    verb: Verb,
    start: Start = (_, command) => [command],
    called: (plugin: string) => void = () => undefined,
  ): void {
    const order = verb === "DEL" ? this.#plugins.toReversed() : this.#plugins;
    let result = this.#results.get(pod);
    for (const plugin of order) {
      const [program = "", ...words] = start(plugin.type, `${this.#bin}/${plugin.type}`);
      // A chain's first interface, lo, is a network of its own.
      const isLoopback = plugin.type === "loopback";
      const { stdout, stderr, status } = spawnSync("ip", ["netns", "exec", this.#node, program, ...words], {
        input: JSON.stringify(this.#input(plugin, pod, isLoopback ? undefined : result)),
        env: {
          PATH: process.env.PATH,
          CNI_COMMAND: verb,
          CNI_CONTAINERID: this.#name(pod),
          CNI_NETNS: `/run/netns/${this.#name(pod)}`,
          CNI_IFNAME: isLoopback ? "lo" : "eth0",
          CNI_PATH: this.#bin,
        },
        encoding: "utf8",
      });
      if (status !== 0) throw new Error(`${verb} of ${plugin.type} failed: ${stdout}${stderr}`);
      called(plugin.type);
      if (verb === "ADD" && !isLoopback) result = JSON.parse(stdout);
    }
    if (verb === "ADD") this.#results.set(pod, result);
  }

  close(): void {
    const names = Array.from({ length: this.#pods }, (_, pod) => this.#name(pod));
    for (const name of [...names, this.#node]) spawnSync("ip", ["netns", "del", name]);
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #input({ type, ...options }: Configuration, pod: number, prevResult: unknown): object {
    const { ipam } = options;
    return {
      cniVersion: "1.1.0",
      name: "profile",
      type,
      ...options,
      ...(ipam === undefined ? {} : { ipam: { ...(ipam as object), dataDir: `${this.#folder}/networks` } }),
      ...(type === "portmap" ? { runtimeConfig: mappings(8080 + pod) } : {}),
      ...(prevResult === undefined ? {} : { prevResult }),
    };
  }

  #name(pod: number): string {
    return `${this.#node}-${pod}`;
  }

  #makeNamespace(name: string): void {
    execFileSync("ip", ["netns", "add", name]);
  }
}

function mappings(hostPort: number): object {
  return { portMappings: [{ hostPort, containerPort: 80, protocol: "tcp" }] };
}
