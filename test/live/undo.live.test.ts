/** `weft install --undo` on a node with pods that weft attached: the reference plugins go on with them. */
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, realpathSync, writeFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Cleanup } from "./harness/cleanup.ts";
import { makeFolder } from "./harness/folder.ts";
import type { Inside } from "./harness/inside.ts";
import type { Namespace } from "./harness/namespace.ts";
import { type Answer, OURS, PluginBed, REFERENCE } from "./harness/plugin-bed.ts";

type Backend = "iptables" | "nftables";
type Json = Record<string, unknown>;

interface Port {
  readonly hostPort: number;
  readonly containerPort: number;
  readonly protocol: string;
  readonly hostIP?: string;
}

interface Pod {
  readonly id: string;
  readonly namespace: Namespace;
  readonly inside: Inside;
  readonly backend: Backend;
  readonly ports: readonly Port[];
  readonly result: { readonly ips: readonly { readonly address: string }[] };
}

const UPLINK = { 4: "198.51.100.1", 6: "2001:db8:51::1" } as const;
const OUTSIDE = { 4: "198.51.100.2", 6: "2001:db8:51::2" } as const;
const FAMILIES = [4, 6] as const;
const [SERVER, ECHO, OUTSIDE_PORT] = [80, 81, 8000];

let bed: PluginBed;
let outside: Inside;
let bin: string;
const cleanup = new Cleanup();

beforeEach(async () => {
  bed = await PluginBed.make();
  const peer = await bed.anotherPod("outside");
  outside = peer.inside;
  const script = "for of in all default; do echo 0 >/proc/sys/net/ipv6/conf/$of/accept_dad; done";
  for (const side of [bed.node, outside]) await side.succeed("sh", ["-c", script]);
  const ends = ["type", "veth", "peer", "name", "eth0", "netns", peer.namespace.name];
  await bed.node.succeed("ip", ["link", "add", "uplink", ...ends]);
  await bed.node.succeed("ip", ["link", "set", "uplink", "up"]);
  await outside.succeed("ip", ["link", "set", "eth0", "up"]);
  for (const of of FAMILIES) {
    const length = of === 4 ? 24 : 64;
    await bed.node.succeed("ip", ["address", "add", `${UPLINK[of]}/${length}`, "dev", "uplink"]);
    await outside.succeed("ip", ["address", "add", `${OUTSIDE[of]}/${length}`, "dev", "eth0"]);
  }
  await outside.listen(OUTSIDE_PORT);
  bin = `${makeFolder("undo", cleanup)}/bin`;
  cpSync(realpathSync(REFERENCE), bin, { recursive: true });
  await bed.node.succeed(`${OURS}/weft`, ["install", bin]);
});
afterEach(async () => {
  await bed.close();
  await cleanup.run();
});

const conflist = (backend: Backend) => ({
  cniVersion: "1.0.0",
  name: `net-${backend}`,
  plugins: [
    {
      ...{ type: "bridge", bridge: "cni0", isDefaultGateway: true, hairpinMode: true, ipMasq: true, macspoofchk: true },
      ...(backend === "nftables" ? { ipMasqBackend: backend } : {}),
      ipam: {
        ...{ type: "host-local", dataDir: `${bed.stateDir}/networks` },
        ranges: [[{ subnet: "10.22.0.0/24" }], [{ subnet: "fd00:22::/64" }]],
      },
    },
    { type: "portmap", ...(backend === "nftables" ? { backend } : {}), capabilities: { portMappings: true } },
    { type: "firewall", ingressPolicy: "same-bridge" },
    {
      type: "bandwidth",
      ingressRate: 100_000_000,
      ingressBurst: 10_000_000,
      egressRate: 100_000_000,
      egressBurst: 1e7,
    },
    { type: "tuning", sysctl: { "net.ipv4.conf.IFNAME.arp_filter": "1" }, dataDir: `${bed.stateDir}/tuning` },
  ],
});

/** The plugins of a pod's chain, as the runtime calls them. */
const pluginsOf = (backend: Backend, ports: readonly Port[]): (Json & { type: string })[] => {
  const { plugins, ...network } = conflist(backend);
  return plugins.map((plugin) => ({
    ...plugin,
    ...network,
    plugins: undefined,
    ...(plugin.type === "portmap" ? { runtimeConfig: { portMappings: ports } } : {}),
  }));
};

const callIn = (pod: Pick<Pod, "id" | "namespace">, plugin: Json & { type: string }, verb: string): Promise<Answer> =>
  bed.call(bin, plugin.type, verb, plugin, { containerId: pod.id, netns: pod.namespace.path });

async function attach(backend: Backend, id: string, ports: readonly Port[], isCached = true): Promise<Pod> {
  const { namespace, inside } = await bed.anotherPod(id);
  let prevResult: Pod["result"] | undefined;
  for (const plugin of pluginsOf(backend, ports)) {
    const answer = await callIn({ id, namespace }, { ...plugin, prevResult }, "ADD");
    expect(answer, `ADD of ${plugin.type}: ${answer.output}`).toMatchObject({ status: 0 });
    prevResult = answer.json;
  }
  const result = prevResult as Pod["result"];
  if (isCached) remember(backend, { id, namespace, ports, result });
  await inside.listen(SERVER);
  await inside.listen(SERVER, "udp");
  await inside.echo(ECHO);
  return { id, namespace, inside, backend, ports, result };
}

/** As libcni does it. */
function remember(backend: Backend, { id, namespace, ports, result }: Omit<Pod, "inside" | "backend">): void {
  const network = conflist(backend);
  mkdirSync(`${bed.stateDir}/results`, { recursive: true });
  const cached = {
    ...{ kind: "cniCacheV1", containerId: id, ifName: "eth0", networkName: network.name, netns: namespace.path },
    ...{
      config: Buffer.from(JSON.stringify(network)).toString("base64"),
      capabilityArgs: { portMappings: ports },
      result,
    },
  };
  writeFileSync(`${bed.stateDir}/results/${network.name}-${id}-eth0`, JSON.stringify(cached));
}

const tcp = (hostPort: number, containerPort = SERVER, hostIP?: string): Port => ({
  ...{ hostPort, containerPort, protocol: "tcp" },
  ...(hostIP === undefined ? {} : { hostIP }),
});

const undo = (...words: string[]) =>
  bed.node.run(`${OURS}/weft`, ["install", bin, "--undo", "--cni-conf-dir", bin, ...words]);

async function expectTraffic(pods: readonly Pod[]): Promise<void> {
  for (const { inside, ports, id } of pods) {
    for (const of of FAMILIES) {
      expect(await inside.seenBy(OUTSIDE[of], OUTSIDE_PORT), `${id} to outside`).toBe(UPLINK[of]);
      for (const { hostPort, protocol, containerPort, hostIP = UPLINK[of] } of ports) {
        if (hostIP !== UPLINK[of] || containerPort === ECHO) continue;
        const transport = protocol === "udp" ? "udp" : "tcp";
        expect(await outside.seenBy(UPLINK[of], hostPort, { transport }), `${id}: ${hostPort}`).toBe(OUTSIDE[of]);
      }
    }
    for (const { hostPort, protocol, containerPort, hostIP } of ports) {
      if (protocol !== "tcp" || containerPort === ECHO || hostIP !== undefined) continue;
      // From the node's loopback address, and from the pod to itself.
      expect(await bed.node.seenBy("127.0.0.1", hostPort)).toMatch(/^10\.22\.0\./);
      expect(await inside.seenBy(UPLINK[4], hostPort)).toMatch(/^(10\.22\.0\.1|198\.51\.100\.1)$/);
    }
  }
}

/** CHECK, then DEL, of every plugin, each once. */
async function expectReference(pods: readonly Pod[]): Promise<void> {
  for (const pod of pods) {
    for (const plugin of pluginsOf(pod.backend, pod.ports)) {
      const answer = await callIn(pod, { ...plugin, prevResult: pod.result }, "CHECK");
      expect(answer, `CHECK of ${plugin.type} for ${pod.id}: ${answer.output}`).toMatchObject({ status: 0 });
    }
  }
  for (const pod of pods) {
    for (const plugin of pluginsOf(pod.backend, pod.ports).reverse()) {
      const answer = await callIn(pod, { ...plugin, prevResult: pod.result }, "DEL");
      expect(answer, `DEL of ${plugin.type} for ${pod.id}: ${answer.output}`).toMatchObject({ status: 0 });
    }
  }
}

/** Rules in which a pod, its devices or its addresses are named, tables of weft's, and what else pods have. */
async function leftOf(pods: readonly Pod[]): Promise<unknown> {
  const ruleset = await bed.node.succeed("nft", ["-s", "list", "ruleset"]);
  const names = pods.flatMap(({ id, result }) => [
    ...[id, ...result.ips.map(({ address }) => address.replace(/\/.*/, ""))],
  ]);
  const isOfPods = (line: string) =>
    /CNI-(DN-)?[0-9a-f]{10}|veth|table inet weft_|table bridge weft_/.test(line) ||
    names.some((name) => new RegExp(`(?<![\\w.:])${name}(?![\\w.:])`).test(line));
  const links = await bed.node.json<{ ifname: string }[]>("ip", ["-j", "link", "show"]);
  const networks = `${bed.stateDir}/networks`;
  return {
    rules: ruleset.split("\n").filter(isOfPods),
    links: links.map(({ ifname }) => ifname).sort(),
    reserved: readdirSync(networks, { recursive: true, encoding: "utf8" }).filter((name) =>
      /\/(10\.22|fd00)/.test(name),
    ),
    tuned: existsSync(`${bed.stateDir}/tuning`) ? readdirSync(`${bed.stateDir}/tuning`) : [],
  };
}

const NOTHING = { rules: [], links: ["cni0", "lo", "uplink"], reserved: [], tuned: [] };

const weftTables = async () =>
  (await bed.node.succeed("nft", ["list", "tables"])).split("\n").filter((line) => line.includes("weft_"));

/** Connections one after another for as long as `work` takes; how many were answered. */
async function connectWhile(work: () => Promise<unknown>, ports: readonly number[]): Promise<number> {
  let isOver = false;
  let answered = 0;
  const callers = ports.flatMap((port) =>
    FAMILIES.map(async (of) => {
      while (!isOver) {
        expect(await outside.seenBy(UPLINK[of], port)).toBe(OUTSIDE[of]);
        answered++;
      }
    }),
  );
  try {
    await work();
  } finally {
    isOver = true;
    await Promise.all(callers);
  }
  return answered;
}

describe.each<Backend>(["iptables", "nftables"])("with %s", (backend) => {
  test("pods keep their connections, and the reference checks and deletes them without a trace", async () => {
    const pods = [
      await attach(backend, "many", [
        ...[tcp(8081), tcp(8181, ECHO), { hostPort: 5353, containerPort: SERVER, protocol: "udp" }],
        ...[tcp(8090, SERVER, UPLINK[4]), tcp(8091, SERVER, UPLINK[6])],
      ]),
      await attach(backend, "one", [tcp(8082)]),
      await attach(backend, "none", []),
    ];
    await expectTraffic(pods);
    expect(await weftTables()).toHaveLength(4);

    const planned = await undo("--dry-run");
    expect(planned).toMatchObject({ status: 0, stderr: "" });
    expect(planned.stdout).toMatch(/mv .*\.weft-replaced\/bridge/);
    expect(await weftTables()).toHaveLength(4);

    const talks = FAMILIES.map((of) => outside.converse(UPLINK[of], 8181, 3000, 10));
    let done = await undo("--dry-run");
    const answered = await connectWhile(async () => {
      done = await undo();
    }, [8081, 8082]);
    expect(done).toMatchObject({ status: 0, stderr: "" });
    expect(done.stdout).not.toMatch(/^(Failed|Stays):/m);
    expect(answered).toBeGreaterThan(4);
    for (const { sent, echoed } of await Promise.all(talks)) {
      expect(sent).toBeGreaterThan(50);
      expect(echoed).toBe(sent);
    }
    expect(await weftTables()).toEqual([]);
    for (const name of readdirSync(REFERENCE)) {
      expect(readFileSync(`${bin}/${name}`).equals(readFileSync(`${REFERENCE}/${name}`)), name).toBe(true);
    }
    expect(readdirSync(bin).sort()).toEqual(readdirSync(REFERENCE).sort());

    await expectTraffic(pods);
    const young = await attach(backend, "young", [tcp(8083)]);
    await expectTraffic([...pods, young]);
    await expectReference([...pods, young]);
    expect(await leftOf([...pods, young])).toEqual(NOTHING);
  });

  test("a second call has nothing to do, and changes nothing", async () => {
    const pods = [await attach(backend, "one", [tcp(8082)])];
    expect(await undo()).toMatchObject({ status: 0 });
    const before = await bed.node.succeed("nft", ["-s", "-a", "list", "ruleset"]);
    const again = await undo();
    expect(again).toMatchObject({ status: 0 });
    expect(again.stdout).toMatch(/nothing to do\.\n$/);
    expect(await bed.node.succeed("nft", ["-s", "-a", "list", "ruleset"])).toBe(before);
    await expectReference(pods);
  });
});
