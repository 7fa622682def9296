/**
 * A node whose frontends are programmed by the nftables mode alone, without Services. The node's pods are in `pods` and
 * `client`, clients outside the cluster in `outside`. Each endpoint has its own address on `pods`.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { Cleanup } from "../../live/harness/cleanup.ts";
import { succeed } from "../../live/harness/command.ts";
import type { ProbeAnswer, ProbeResult } from "../../live/harness/probe.ts";
import { PATIENCE } from "../../live/harness/process.ts";
import type { FrontendOrder, FrontendText } from "./frontend-child.ts";
import { device, type Hosts, makeTopology, nextHop } from "./topology.ts";

const CHILD = new URL("./frontend-child.ts", import.meta.url).pathname;
const PATIENT_MS = 10_000 * PATIENCE;
const SILENCE_MS = 300 * PATIENCE;

/**
 * Pods of the node: 10.244.1.1 and fd00:1::1 up to 9. The last one is on `client`, because a namespace rejects packets
 * from its own addresses.
 */
export const POD = { 4: (at: number) => `10.244.1.${at}`, 6: (at: number) => `fd00:1::${at}` } as const;
const NUMBERS = [1, 2, 3, 4, 5, 6, 7, 8, 9];
const CLIENT = 9;
const SERVERS = NUMBERS.filter((at) => at !== CLIENT);
export const ENDPOINT = {
  4: (at: number) => `${POD[4](at)}:8080`,
  6: (at: number) => `[${POD[6](at)}]:8080`,
} as const;
/** Clients outside the cluster, on the link to the node. */
export const OUTSIDE = { 4: "198.18.4.2", 6: "fd99:4::2" } as const;
/** Additional clients outside the cluster. */
export const OUTSIDERS = { 4: (at: number) => `192.0.2.${at}`, 6: (at: number) => `2001:db8::${at}` } as const;
/** An address of the node. */
export const NODE = { 4: "198.18.4.1", 6: "fd99:4::1" } as const;

export type Asking = "pods" | "client" | "outside" | "node";

export const frontend = (more: Partial<FrontendText>): FrontendText => ({
  ...{ kind: "ClusterIP", address: "10.96.0.1", protocol: 6, port: 80, policy: "internal", endpoints: [] },
  ...{ localEndpoints: [], withoutEndpoint: undefined, allowedSources: undefined, affinity: undefined },
  ...more,
});

export class FrontendBed {
  readonly hosts: Hosts;
  readonly #cleanup: Cleanup;
  readonly #child: ChildProcess;
  readonly #answers: AsyncIterator<string>;

  private constructor(hosts: Hosts, path: string, cleanup: Cleanup) {
    this.hosts = hosts;
    this.#cleanup = cleanup;
    this.#child = spawn("nsenter", [`--net=${path}`, process.execPath, CHILD], { stdio: ["pipe", "pipe", "inherit"] });
    if (this.#child.stdout === null) throw new Error("the programmer needs its standard output");
    this.#answers = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
    cleanup.push(
      () =>
        new Promise<void>((resolve) => {
          this.#child.once("exit", () => resolve()).stdin?.end();
        }),
    );
  }

  static async make(): Promise<FrontendBed> {
    const cleanup = new Cleanup();
    try {
      const { namespaces, hosts } = await makeTopology(cleanup);
      const bed = new FrontendBed(hosts, namespaces.node.path, cleanup);
      for (const family of [4, 6] as const) {
        const place = async (host: "pods" | "client" | "outside", address: string) => {
          const nodad = family === 6 ? ["nodad"] : [];
          await succeed("ip", ["-n", namespaces[host].name, "address", "add", address, "dev", "lo", ...nodad]);
          const via = ["via", nextHop("node", host, family), "dev", device(host)];
          await succeed("ip", ["-n", namespaces.node.name, "route", "add", address, ...via]);
        };
        for (const at of NUMBERS) await place(at === CLIENT ? "client" : "pods", POD[family](at));
        for (const at of NUMBERS) await place("outside", OUTSIDERS[family](at));
      }
      await hosts.pods.serve(
        "pods",
        [4, 6].flatMap((family) =>
          SERVERS.flatMap((at) =>
            (["tcp", "udp"] as const).map((transport) => ({
              address: POD[family as 4 | 6](at),
              port: 8080,
              transport,
            })),
          ),
        ),
      );
      return bed;
    } catch (error) {
      await cleanup.run();
      throw error;
    }
  }

  close(): Promise<void> {
    return this.#cleanup.run();
  }

  /** Returns the number of requests of each transaction. */
  async program(by: FrontendOrder["do"], ...frontends: readonly FrontendText[]): Promise<readonly number[]> {
    const settings = { localPods: ["10.244.1.0/24", "fd00:1::/64"], serviceRanges: ["10.96.0.0/16", "fd00:96::/112"] };
    this.#child.stdin?.write(`${JSON.stringify({ do: by, ...settings, frontends })}\n`);
    const { value: line = '{"error":"the programmer ended"}' } = await this.#answers.next();
    const { value, error } = JSON.parse(line) as { value?: number[]; error?: string };
    if (error !== undefined) throw new Error(error);
    return value ?? [];
  }

  async connect(
    host: Asking,
    from: string,
    to: string,
    { times = 1, transport = "tcp" as "tcp" | "udp", port = 80, isAnswered = true } = {},
  ): Promise<readonly ProbeResult[]> {
    const timeoutMs = isAnswered ? PATIENT_MS : SILENCE_MS;
    return this.hosts[host].probe({ from, to, port, transport, times, timeoutMs });
  }

  /**
   * Opens connections that must all be answered, and returns the endpoints reached. Few at a time, so that none waits
   * for a free port.
   */
  async reach(host: Asking, from: string, to: string, times: number): Promise<readonly ProbeAnswer[]> {
    const answers: ProbeAnswer[] = [];
    while (answers.length < times) {
      const some = await this.connect(host, from, to, { times: Math.min(32, times - answers.length) });
      for (const result of some) {
        if ("failure" in result) throw new Error(`${from} -> ${to}: ${result.failure}`);
        answers.push(result);
      }
    }
    return answers;
  }

  nft(...args: readonly string[]): Promise<string> {
    return this.hosts.node.succeed("nft", args);
  }

  /** Elements of one of weft's sets or maps, as `nft -j` shows them. */
  async elements(name: string): Promise<readonly NftElement[]> {
    const kind = /^(?:affinity\d|(?:local-)?(?:frontends|endpoints|picks))/.test(name) ? "map" : "set";
    const listed = JSON.parse(await this.nft("-j", "list", kind, "inet", "weft-services", name)) as {
      nftables: readonly Record<string, { elem?: readonly NftElement[] }>[];
    };
    return listed.nftables.find((one) => kind in one)?.[kind]?.elem ?? [];
  }

  /** Number of packets that matched rules with a counter and this comment. */
  async counted(comment: string): Promise<number> {
    const listed = JSON.parse(await this.nft("-j", "list", "table", "inet", "weft-services")) as {
      nftables: readonly { rule?: { comment?: string; expr: readonly { counter?: { packets: number } }[] } }[];
    };
    return listed.nftables
      .filter(({ rule }) => rule?.comment === comment)
      .flatMap(({ rule }) => rule?.expr.map(({ counter }) => counter?.packets ?? 0) ?? [])
      .reduce((sum, packets) => sum + packets, 0);
  }
}

/** The fields that tests read. */
// biome-ignore lint/suspicious/noExplicitAny: nft's output depends on the set
export type NftElement = any;
