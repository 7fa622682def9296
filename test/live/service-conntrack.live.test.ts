/**
 * Flows of Services on a real kernel: a node that translates by the test's own ruleset, a client that sends from one
 * source port, and the controller of flows. Read back with `conntrack`.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { ConntrackSweep } from "../../daemon/controllers/facts.ts";
import { Cleanup } from "./harness/cleanup.ts";
import { Inside } from "./harness/inside.ts";
import { makeNamespace, type Namespace } from "./harness/namespace.ts";
import { eventually, PATIENCE } from "./harness/process.ts";
import type { Told } from "./service-conntrack-child.ts";

const CHILD = fileURLToPath(new URL("./service-conntrack-child.ts", import.meta.url));
const FAMILIES = [4, 6] as const;
type Family = (typeof FAMILIES)[number];

const NAMES = ["client", "e1", "e2"] as const;
const address = (family: Family, of: number, host: number) =>
  family === 4 ? `10.1.${of}.${host}` : `fd00:1:${of}::${host}`;
const CLIENT = { 4: address(4, 1, 2), 6: address(6, 1, 2) };
const E1 = { 4: address(4, 2, 2), 6: address(6, 2, 2) };
const E2 = { 4: address(4, 3, 2), 6: address(6, 3, 2) };
const VIP = { 4: "10.96.0.10", 6: "fd00:96::10" };
const OTHER_VIP = { 4: "10.96.0.11", 6: "fd00:96::11" };
const [PORT, ENDPOINT_PORT] = [53, 5353];

let cleanup: Cleanup;
let node: Inside;
let nodeNamespace: Namespace;
const insides = new Map<string, Inside>();
let controller: Controller;

/** The controller of flows in the node's namespace. */
class Controller {
  readonly sweeps: ConntrackSweep[] = [];
  readonly #child: ChildProcess;

  constructor() {
    this.#child = spawn("nsenter", [`--net=${nodeNamespace.path}`, process.execPath, CHILD], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    if (this.#child.stdout === null) throw new Error("no output");
    createInterface({ input: this.#child.stdout }).on("line", (line) => this.sweeps.push(JSON.parse(line)));
    cleanup.push(() => this.stop());
  }

  tell(...frontends: readonly Told[]): void {
    this.#child.stdin?.write(`${JSON.stringify(frontends)}\n`);
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null) return;
    const ended = new Promise((resolve) => this.#child.once("exit", resolve));
    this.#child.stdin?.end();
    await ended;
  }

  /** Waits for the next pass over this family's table. */
  async swept(family: Family, since: number): Promise<void> {
    await eventually(() => expect(this.sweeps.slice(since).map((sweep) => sweep.family)).toContain(family));
  }
}

beforeEach(async () => {
  cleanup = new Cleanup();
  nodeNamespace = await makeNamespace("flows-node", cleanup);
  node = await Inside.enter(nodeNamespace, cleanup);
  await node.succeed("sh", ["-c", "for of in all default; do echo 0 >/proc/sys/net/ipv6/conf/$of/accept_dad; done"]);
  await node.succeed("sysctl", ["-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"]);
  // Flows must not expire: an expired flow would look like a deleted one.
  for (const timeout of ["udp_timeout", "udp_timeout_stream", "tcp_timeout_syn_sent"])
    await node.succeed("sysctl", ["-qw", `net.netfilter.nf_conntrack_${timeout}=600`]);
  for (const [at, name] of NAMES.entries()) {
    const namespace = await makeNamespace(`flows-${name}`, cleanup);
    const inside = await Inside.enter(namespace, cleanup);
    insides.set(name, inside);
    await inside.succeed("sh", [
      "-c",
      "for of in all default; do echo 0 >/proc/sys/net/ipv6/conf/$of/accept_dad; done",
    ]);
    await node.succeed("ip", ["link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", namespace.name]);
    await node.succeed("ip", ["link", "set", name, "up"]);
    await inside.succeed("ip", ["link", "set", "eth0", "up"]);
    for (const family of FAMILIES) {
      const length = family === 4 ? 24 : 64;
      await node.succeed("ip", ["address", "add", `${address(family, at + 1, 1)}/${length}`, "dev", name]);
      await inside.succeed("ip", ["address", "add", `${address(family, at + 1, 2)}/${length}`, "dev", "eth0"]);
      await inside.succeed("ip", [`-${family}`, "route", "add", "default", "via", address(family, at + 1, 1)]);
    }
  }
  for (const name of ["e1", "e2"]) await of(name).listen(ENDPOINT_PORT, "udp");
  // Untranslated packets pass and get no answer: such flows keep a client from its Service.
  await node.succeed("ip", ["route", "add", "10.96.0.0/16", "via", E2[4]]);
  await node.succeed("ip", ["-6", "route", "add", "fd00:96::/64", "via", E2[6]]);
  controller = new Controller();
});
afterEach(() => cleanup.run());

const of = (name: string): Inside => {
  const inside = insides.get(name);
  if (inside === undefined) throw new Error(name);
  return inside;
};

/** Translates to the first endpoint of each frontend. */
async function translate(...frontends: readonly Told[]): Promise<void> {
  const rules = frontends.flatMap(({ address: to, port, protocol = 17, endpoints: [first], endpointPort }) => {
    if (first === undefined) return [];
    const [ip, target] = to.includes(":") ? ["ip6", `[${first}]`] : ["ip", first];
    return [
      `${ip} daddr ${to} ${protocol === 6 ? "tcp" : "udp"} dport ${port} dnat ${ip} to ${target}:${endpointPort}`,
    ];
  });
  const chain = ["type nat hook prerouting priority dstnat", ...rules].join("\n");
  const text = `table inet svc\ndelete table inet svc\ntable inet svc {\nchain prerouting {\n${chain}\n}\n}\n`;
  const { status, stderr } = await node.run("nft", ["-f", "-"], text);
  if (status !== 0) throw new Error(stderr);
}

/** From now on the kernel and the controller have these frontends. */
async function serve(...frontends: readonly Told[]): Promise<void> {
  await translate(...frontends);
  controller.tell(...frontends);
}

interface Flow {
  readonly id: string;
  readonly protocol: string;
  readonly to: string;
  readonly port: number;
  readonly by: string;
  readonly from: number;
  readonly zone: number;
}

/** The flows as `conntrack` lists them. */
async function flows(family: Family): Promise<Flow[]> {
  const text = await node.succeed("conntrack", ["-L", "-f", `ipv${family}`, "-o", "id"]);
  return text.split("\n").flatMap((line) => {
    const [protocol = ""] = line.split(/\s+/, 1);
    const field = (name: string) =>
      [...line.matchAll(new RegExp(`\\b${name}=(\\S+)`, "g"))].map(([, value = ""]) => value);
    const [sources, destinations] = [field("src"), field("dst")];
    const isOurs = (protocol === "udp" || protocol === "tcp") && destinations[0]?.match(/^(10\.96|fd00:96)/);
    if (!isOurs) return [];
    return [
      {
        ...{ id: field("id")[0] ?? "", protocol, to: destinations[0] ?? "", port: Number(field("dport")[0]) },
        ...{ by: sources[1] ?? "", from: Number(field("sport")[0]), zone: Number(field("zone")[0] ?? 0) },
      },
    ];
  });
}
const flowsTo = async (to: string, port: number = PORT) =>
  (await flows(to.includes(":") ? 6 : 4)).filter((flow) => flow.to === to && flow.port === port);

const ask = (to: string, from: number, port: number = PORT) =>
  of("client").seenBy(to, port, { transport: "udp", from, timeoutMs: 200 * PATIENCE });
const answers = (to: string, from: number, port?: number) => eventually(() => ask(to, from, port));
const dns = (family: Family, ...endpoints: readonly string[]): Told => ({
  ...{ address: VIP[family], port: PORT, endpoints, endpointPort: ENDPOINT_PORT },
});
const other = (family: Family): Told => ({ ...dns(family, E2[family]), address: OTHER_VIP[family] });

/** Adds an entry to the table. */
const plant = (
  family: Family,
  to: string,
  by: string,
  from: number,
  more: readonly string[] = ["-p", "udp", "-u", "SEEN_REPLY"],
) =>
  node.succeed("sh", [
    "-c",
    [
      `conntrack -I ${more.join(" ")} -t 600 -s ${CLIENT[family]} -d ${to} -r ${by} -q ${CLIENT[family]}`,
      `--sport ${from} --dport ${PORT} --reply-port-src ${ENDPOINT_PORT} --reply-port-dst ${from}`,
    ].join(" "),
  ]);

describe.each(FAMILIES)("IPv%d, from a fixed source port", (family) => {
  test("an endpoint is replaced: the flow continues at the new one, and other flows keep their ids", async () => {
    await serve(dns(family, E1[family]), other(family));
    await answers(VIP[family], 40_000);
    await answers(OTHER_VIP[family], 40_001);
    expect((await flowsTo(VIP[family])).map(({ by }) => by)).toEqual([E1[family]]);
    const good = await flowsTo(OTHER_VIP[family]);
    await of("e1").succeed("ip", ["link", "set", "eth0", "down"]);
    await serve(dns(family, E2[family]), other(family));
    await answers(VIP[family], 40_000);
    expect((await flowsTo(VIP[family])).map(({ by }) => by)).toEqual([E2[family]]);
    expect(await flowsTo(OTHER_VIP[family])).toEqual(good);
  });

  test("a Service is scaled to zero and back: no old flow is left, and no new flow bypasses the Service", async () => {
    await serve(dns(family, E1[family]), other(family));
    await answers(VIP[family], 40_000);
    await answers(OTHER_VIP[family], 40_001);
    const good = await flowsTo(OTHER_VIP[family]);
    await serve(dns(family), other(family));
    await eventually(async () => expect(await flowsTo(VIP[family])).toEqual([]));
    await expect(ask(VIP[family], 40_000)).rejects.toThrow();
    expect((await flowsTo(VIP[family])).map(({ by }) => by)).toEqual([VIP[family]]);
    await serve(dns(family, E1[family]), other(family));
    await answers(VIP[family], 40_000);
    expect((await flowsTo(VIP[family])).map(({ by }) => by)).toEqual([E1[family]]);
    expect(await flowsTo(OTHER_VIP[family])).toEqual(good);
  });

  test("a port changes, then the Service is deleted: its flows are deleted, those of other Services and zones stay", async () => {
    await serve(dns(family, E1[family]), other(family));
    await answers(VIP[family], 40_000);
    await answers(OTHER_VIP[family], 40_001);
    await plant(family, VIP[family], E1[family], 40_002, ["-p", "udp", "-u", "SEEN_REPLY", "-w", "7"]);
    const good = await flowsTo(OTHER_VIP[family]);
    const moved = { ...dns(family, E1[family]), port: 54 };
    await serve(moved, other(family));
    await eventually(async () => expect((await flowsTo(VIP[family])).map(({ zone }) => zone)).toEqual([7]));
    await answers(VIP[family], 40_000, 54);
    await serve(other(family));
    await eventually(async () => expect(await flowsTo(VIP[family], 54)).toEqual([]));
    expect((await flowsTo(VIP[family])).map(({ zone }) => zone)).toEqual([7]);
    expect(await flowsTo(OTHER_VIP[family])).toEqual(good);
  });

  test("a restart keeps valid flows with their ids, and finds those that became stale meanwhile", async () => {
    await serve(dns(family, E1[family]), other(family));
    for (const [to, from] of [
      [VIP[family], 40_000],
      [OTHER_VIP[family], 40_001],
    ] as const)
      await answers(to, from);
    const good = [await flowsTo(VIP[family]), await flowsTo(OTHER_VIP[family])];
    await controller.stop();
    await plant(family, VIP[family], E2[family], 40_005);
    controller = new Controller();
    await serve(dns(family, E1[family]), other(family));
    await controller.swept(family, 0);
    expect([await flowsTo(VIP[family]), await flowsTo(OTHER_VIP[family])]).toEqual(good);
    expect(controller.sweeps.filter((sweep) => sweep.family === family).map(({ deleted }) => deleted)).toEqual([1]);
  });

  test("only unanswered TCP flows are deleted", async () => {
    const tcp = (...endpoints: readonly string[]): Told => ({ ...dns(family, ...endpoints), protocol: 6 });
    await serve(tcp(E1[family]));
    const established = ["-p", "tcp", "--state", "ESTABLISHED", "-u", "SEEN_REPLY,ASSURED"];
    await plant(family, VIP[family], E1[family], 40_000, established);
    await of("e1").succeed("nft", [
      "table inet deaf { chain in { type filter hook input priority 0; meta l4proto tcp drop; }; }",
    ]);
    const waiting = of("client").seenBy(VIP[family], PORT, { timeoutMs: 20_000 * PATIENCE });
    const before = await eventually(async () => {
      const found = await flowsTo(VIP[family]);
      expect(found).toHaveLength(2);
      return found;
    });
    await of("e2").listen(ENDPOINT_PORT);
    await serve(tcp(E2[family]));
    // The client's next SYN goes to an existing endpoint.
    expect(await waiting).toBe(CLIENT[family]);
    const after = await flowsTo(VIP[family]);
    expect(after.filter(({ from }) => from === 40_000)).toEqual(before.filter(({ from }) => from === 40_000));
    expect(after.map(({ by }) => by).sort()).toEqual([E1[family], E2[family]].sort());
  });
});

test("thousands of flows of one frontend are deleted in one pass, and no other flow", async () => {
  const count = 3000;
  const entry = (to: string, at: number) =>
    `-I -p udp -t 600 -u SEEN_REPLY -s 10.1.${100 + (at >> 8)}.${at & 255} -d ${to} -r ${E1[4]} -q 10.1.${100 + (at >> 8)}.${at & 255} --sport 40000 --dport ${PORT} --reply-port-src ${ENDPOINT_PORT} --reply-port-dst 40000`;
  const lines = Array.from({ length: count }, (_, at) => entry(VIP[4], at)).concat(entry(OTHER_VIP[4], count));
  await serve(dns(4, E1[4]), { ...dns(4, E1[4]), address: OTHER_VIP[4] });
  await controller.swept(4, 0);
  const since = controller.sweeps.length;
  const { status, stderr } = await node.run("sh", ["-c", "cat | conntrack -R -"], `${lines.join("\n")}\n`);
  expect(status, stderr).toBe(0);
  expect(await flows(4)).toHaveLength(count + 1);
  await serve(dns(4), { ...dns(4, E1[4]), address: OTHER_VIP[4] });
  await controller.swept(4, since);
  expect((await flows(4)).map(({ to }) => to)).toEqual([OTHER_VIP[4]]);
  expect(controller.sweeps.at(-1)?.deleted).toBe(count);
});
