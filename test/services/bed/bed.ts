/** A node whose Services are programmed by weft's own code, with hosts around it that connect to them. */
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { Cleanup } from "../../live/harness/cleanup.ts";
import { succeed } from "../../live/harness/command.ts";
import { compiled } from "../../live/harness/compiled.ts";
import { type ProbeAnswer, type ProbeResult, socketAddress } from "../../live/harness/probe.ts";
import { PATIENCE } from "../../live/harness/process.ts";
import type { Case, Expectation, Row } from "../rows.ts";
import { moves, type Placement, placementOf, SERVERS } from "./placement.ts";
import type { Order } from "./programmer-child.ts";
import { type Host, type Hosts, makeTopology, type Namespaces, NODE_LINK_ADDRESSES } from "./topology.ts";

const CHILD = new URL("./programmer-child.ts", import.meta.url).pathname;
const SCTP_INIT = new URL("./sctp-init.c", import.meta.url);

/** Timeout of a connection that should be answered: the machine may be busy. */
const PATIENT_MS = 10_000 * PATIENCE;
/**
 * Timeout of a connection that should get no answer; each such connection waits this long. A packet takes well below a
 * millisecond here.
 */
const SILENCE_MS = 300 * PATIENCE;
/**
 * Connections per round, and the most rounds until each endpoint was reached. One of three endpoints is missed by
 * chance once in 10^28.
 */
const AT_ONCE = 16;
const ROUNDS = 10;

export class ServiceBed {
  readonly hosts: Hosts;
  readonly namespaces: Namespaces;
  readonly #cleanup: Cleanup;
  readonly #sctpInit: string;
  readonly #programmer: ChildProcess;
  readonly #answers: AsyncIterator<string>;
  #placement: Placement | undefined;

  private constructor(topology: { namespaces: Namespaces; hosts: Hosts }, sctpInit: string, cleanup: Cleanup) {
    this.hosts = topology.hosts;
    this.namespaces = topology.namespaces;
    this.#cleanup = cleanup;
    this.#sctpInit = sctpInit;
    const { path } = topology.namespaces.node;
    this.#programmer = spawn("nsenter", [`--net=${path}`, process.execPath, CHILD], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    const { stdout } = this.#programmer;
    if (stdout === null) throw new Error("the programmer needs its standard output");
    this.#answers = createInterface({ input: stdout })[Symbol.asyncIterator]();
    cleanup.push(
      () =>
        new Promise<void>((resolve) => {
          this.#programmer.once("exit", () => resolve()).stdin?.end();
        }),
    );
  }

  static async make(): Promise<ServiceBed> {
    const cleanup = new Cleanup();
    try {
      const sctpInit = await compiled(SCTP_INIT, cleanup);
      const topology = await makeTopology(cleanup);
      for (const host of ["pods", "remote"] as const) await topology.hosts[host].succeed("nft", [SCTP_WATCH]);
      return new ServiceBed(topology, sctpInit, cleanup);
    } catch (error) {
      await cleanup.run();
      throw error;
    }
  }

  close(): Promise<void> {
    return this.#cleanup.run();
  }

  /** Assigns all addresses and programs the case's Services. Returns the number of transactions. */
  async arrange(one: Case, by: Order["do"] = "compare"): Promise<number> {
    const placement = placementOf(one);
    const batches = [...moves(this.#placement, placement)].map(([host, commands]) =>
      succeed("ip", ["-n", this.namespaces[host].name, "-batch", "-"], { input: `${commands.join("\n")}\n` }),
    );
    await Promise.all(batches);
    this.#placement = placement;
    await Promise.all(SERVERS.map((host) => this.hosts[host].serve(host, placement.listening[host])));
    return this.program({ do: by, case: one });
  }

  async program(order: Order): Promise<number> {
    this.#programmer.stdin?.write(`${JSON.stringify(order)}\n`);
    const { value: line = '{"error":"the programmer ended"}' } = await this.#answers.next();
    const { value, error } = JSON.parse(line) as { value?: number; error?: string };
    if (error !== undefined) throw new Error(error);
    return value ?? 0;
  }

  hostOf(address: string): Host {
    const host = this.#placement?.addresses.get(address);
    if (host === undefined) throw new Error(`${address} is on no host`);
    return host;
  }

  /** The result of the row's packets: opens connections until each expected endpoint was reached. */
  async measure(row: Row, expected: Row["expect"]): Promise<Expectation> {
    if (row.protocol === "SCTP") return this.#measureSctp(row);
    const timeoutMs = expected === "drop" ? SILENCE_MS : PATIENT_MS;
    const probe = { from: row.from, to: row.to, port: row.port, timeoutMs };
    const transport = row.protocol === "TCP" ? "tcp" : "udp";
    const results: ProbeResult[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      const times = typeof expected === "string" ? 2 : AT_ONCE;
      results.push(...(await this.hosts[this.hostOf(row.from)].probe({ ...probe, transport, times })));
      const found = answersOf(results).map(({ at }) => at);
      if (typeof expected === "string" || found.length < results.length || isSubset(expected, found)) break;
    }
    return this.#judge(row, results);
  }

  #judge({ from, to, port }: Row, results: readonly ProbeResult[]): Expectation {
    const failures = new Set(results.flatMap((result) => ("failure" in result ? [result.failure] : [])));
    const answers = answersOf(results);
    if (failures.size > 0) {
      const [failure = ""] = failures;
      const known = { ECONNREFUSED: "reject", EPERM: "drop", silence: "drop" } as const;
      if (failures.size > 1 || answers.length > 0 || !(failure in known)) {
        throw new Error(`${from} -> ${to}:${port}: ${[...failures].join(", ")} and ${answers.length} answers`);
      }
      return { expect: known[failure as keyof typeof known], masqueraded: [] };
    }
    const asked = socketAddress(to, port);
    if (answers.every(({ at }) => at === asked)) return { expect: "untouched", masqueraded: [] };
    return reached(answers.map((answer) => ({ at: answer.at, isMasqueraded: this.#wasMasqueraded(answer) })));
  }

  /** Only the port may differ: the kernel changes it if two connections would be identical after translation. */
  #wasMasqueraded({ seen, client }: ProbeAnswer): boolean {
    if (addressIn(seen) === addressIn(client)) return false;
    if (!NODE_LINK_ADDRESSES.includes(addressIn(seen)) && this.#placement?.addresses.get(addressIn(seen)) !== "node") {
      throw new Error(`${client} was seen as ${seen}, which is not an address of the node`);
    }
    return true;
  }

  /** Uses raw packets, and what nft counts at the endpoints: this kernel may lack SCTP. */
  async #measureSctp({ from, to, port }: Row): Promise<Expectation> {
    const source = this.hosts[this.hostOf(from)];
    for (const host of ["pods", "remote"] as const)
      await this.hosts[host].succeed("nft", ["flush set inet watch seen4; flush set inet watch seen6"]);
    await source.succeed(this.#sctpInit, [from, to, String(port), String(AT_ONCE * 2)]);
    const seen = (await Promise.all((["pods", "remote"] as const).map((host) => this.#sctpArrivals(host)))).flat();
    if (seen.length === 0) return { expect: "drop", masqueraded: [] };
    return reached(seen.map(({ client, at }) => ({ at, isMasqueraded: client !== from })));
  }

  async #sctpArrivals(host: Host): Promise<{ readonly client: string; readonly at: string }[]> {
    const arrivals: { client: string; at: string }[] = [];
    for (const family of [4, 6]) {
      const listed = JSON.parse(
        await this.hosts[host].succeed("nft", ["-j", "list", "set", "inet", "watch", `seen${family}`]),
      );
      const elements: NftElement[] = listed.nftables.find((one: object) => "set" in one).set.elem ?? [];
      for (const element of elements) {
        const { concat } = "elem" in element ? element.elem.val : element;
        const [client, address, port] = concat;
        arrivals.push({ client, at: family === 4 ? `${address}:${port}` : `[${address}]:${port}` });
      }
    }
    return arrivals;
  }
}

type Concat = { readonly concat: readonly [string, string, number] };
type NftElement = Concat | { readonly elem: { readonly val: Concat } };

const SCTP_WATCH = `table inet watch {
  set seen4 { type ipv4_addr . ipv4_addr . inet_service; flags dynamic; size 1024; }
  set seen6 { type ipv6_addr . ipv6_addr . inet_service; flags dynamic; size 1024; }
  chain arrivals {
    type filter hook prerouting priority raw; policy accept;
    meta nfproto ipv4 meta l4proto sctp update @seen4 { ip saddr . ip daddr . th dport }
    meta nfproto ipv6 meta l4proto sctp update @seen6 { ip6 saddr . ip6 daddr . th dport }
  }
}`;

/** The address in "a.b.c.d:port" or "[a:b::c]:port". */
export const addressIn = (text: string) => text.replace(/:\d+$/, "").replace(/^\[|\]$/g, "");

const answersOf = (results: readonly ProbeResult[]) =>
  results.filter((result): result is ProbeAnswer => !("failure" in result));

const isSubset = (wanted: readonly string[], found: readonly string[]) => wanted.every((one) => found.includes(one));

/** An endpoint sees all connections of a row alike. */
function reached(all: readonly { readonly at: string; readonly isMasqueraded: boolean }[]): Expectation {
  const endpointsOf = (some: typeof all) => [...new Set(some.map(({ at }) => at))].sort();
  const masqueraded = endpointsOf(all.filter(({ isMasqueraded }) => isMasqueraded));
  const plain = endpointsOf(all.filter(({ isMasqueraded }) => !isMasqueraded));
  const both = masqueraded.filter((at) => plain.includes(at));
  if (both.length > 0) throw new Error(`only some of the connections to ${both.join(", ")} were masqueraded`);
  return { expect: endpointsOf(all), masqueraded };
}
