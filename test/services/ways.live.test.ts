/** Properties of Services that single packets do not show: affinity, streams, ICMP, overlays, random choice. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Cleanup } from "../live/harness/cleanup.ts";
import { type ProbeAnswer, socketAddress } from "../live/harness/probe.ts";
import { eventually } from "../live/harness/process.ts";
import { addressIn, ServiceBed } from "./bed/bed.ts";
import { type BridgedPod, GATEWAYS, makeBridgedPods } from "./bed/bridge.ts";
import { device, nextHop } from "./bed/topology.ts";
import { type Case, type CaseInFile, caseOf, mirror } from "./rows.ts";

const cleanup = new Cleanup();
let bed: ServiceBed;
let bridged: readonly BridgedPod[];
beforeAll(async () => {
  bed = await ServiceBed.make();
  cleanup.push(() => bed.close());
  bridged = await makeBridgedPods(bed.namespaces.node.name, BRIDGED.length, cleanup);
});
afterAll(() => cleanup.run());

const NODE = "192.168.0.2";
const CLIENT = "10.0.0.2";
const OUTSIDE = "203.0.113.2";
/** No Service has this address. */
const UNALLOCATED = "172.30.0.50";
const CLUSTER_IP = "172.30.0.41";
/** One on this node, two on another one. */
const ENDPOINTS = ["10.180.0.1", "10.180.1.1", "10.180.1.2"];
/** Pods of this node on a bridge. */
const BRIDGED = ["10.0.20.2", "10.0.20.3"];
const MANY_CLIENTS = Array.from({ length: 40 }, (_, at) => `10.0.9.${at + 1}`);

interface Shape {
  readonly spec?: object;
  readonly endpoints?: readonly string[];
  readonly endpointPort?: number;
  readonly protocol?: "TCP" | "UDP";
  readonly services?: readonly object[];
}

function shaped({ spec, endpoints = ENDPOINTS, endpointPort = 80, protocol = "TCP", services }: Shape): Case {
  const metadata = { namespace: "ns1", name: "svc1", creationTimestamp: "2026-01-01T00:00:00Z" };
  const ports = [{ name: "main", protocol, port: 80, nodePort: 3001 }];
  const service = {
    metadata,
    spec: { type: "NodePort", clusterIP: CLUSTER_IP, clusterIPs: [CLUSTER_IP], ports, ...spec },
  };
  const slice = {
    metadata: { namespace: "ns1", name: "svc1-1", labels: { "kubernetes.io/service-name": "svc1" } },
    addressType: "IPv4",
    ports: [{ name: "main", protocol, port: endpointPort }],
    endpoints: endpoints.map((address) => ({
      addresses: [address],
      nodeName: address === ENDPOINTS[0] || BRIDGED.includes(address) ? "test-node" : "remote",
    })),
  };
  // Rows place the hosts. A packet that reaches UNALLOCATED would be answered.
  const rows: CaseInFile["rows"] = [CLIENT, OUTSIDE, ...MANY_CLIENTS].map((from) => ({
    ...{ name: from, from, to: UNALLOCATED, port: 80, expect: "untouched" as const },
  }));
  return caseOf("ways", { title: "", services: services ?? [service], slices: [slice], rows });
}

const affinity = (timeoutSeconds: number) => ({
  sessionAffinity: "ClientIP",
  sessionAffinityConfig: { clientIP: { timeoutSeconds } },
});

describe.each([4, 6] as const)("Services of IPv%i", (family) => {
  const inFamily = (one: Case) => (family === 4 ? one : mirror(one));
  const text = (address: string) =>
    family === 4
      ? address
      : (mirror(caseOf("", { title: "", serviceCIDRs: [address], rows: [] })).serviceCIDRs[0] ?? "");
  const arrange = (shape: Shape, by: "compare" | "change" = "compare") => bed.arrange(inFamily(shaped(shape)), by);

  async function connect(from: string, to = CLUSTER_IP, port = 80, times = 16, transport: "tcp" | "udp" = "tcp") {
    const [source, target] = [text(from), text(to)];
    const probe = { from: source, to: target, port, transport, times, timeoutMs: 10_000 };
    const results = await bed.hosts[bed.hostOf(source)].probe(probe);
    const failed = results.find((result) => "failure" in result);
    if (failed !== undefined) throw new Error(`${source} -> ${target}:${port}: ${JSON.stringify(failed)}`);
    return results as readonly ProbeAnswer[];
  }
  const reached = (answers: readonly ProbeAnswer[]) => [...new Set(answers.map(({ at }) => at))];

  test("choose each endpoint equally often", async () => {
    await arrange({});
    const counts = new Map<string, number>();
    for (let round = 0; round < 6; round++) {
      for (const { at } of await connect(CLIENT, CLUSTER_IP, 80, 50)) counts.set(at, (counts.get(at) ?? 0) + 1);
    }
    expect(counts.size).toBe(3);
    // Expected are 100 of 300 each, with a deviation of 8: fewer than 50 occur by chance once in a thousand million
    // runs.
    for (const count of counts.values()) expect(count).toBeGreaterThan(50);
  });

  test.each(["tcp", "udp"] as const)(
    "with affinity keep a client's endpoint over all frontends, by %s",
    async (transport) => {
      const protocol = transport === "tcp" ? "TCP" : "UDP";
      await arrange({ spec: affinity(10_800), protocol });
      const first = reached(await connect(CLIENT, CLUSTER_IP, 80, 16, transport));
      expect(first).toHaveLength(1);
      expect(reached(await connect(CLIENT, NODE, 3001, 16, transport))).toEqual(first);
      const all = await Promise.all(MANY_CLIENTS.map((client) => connect(client, CLUSTER_IP, 80, 2, transport)));
      for (const answers of all) expect(reached(answers)).toHaveLength(1);
      // By chance, 40 clients leave one of three endpoints out once in four million.
      expect(reached(all.flat())).toHaveLength(3);
    },
  );

  test("with affinity choose separately for each port of a Service and each list of endpoints", async () => {
    const ports = [
      { name: "main", protocol: "TCP", port: 80, nodePort: 3001 },
      { name: "main", protocol: "TCP", port: 443, nodePort: 3002 },
    ];
    await arrange({ spec: { ...affinity(10_800), ports, externalTrafficPolicy: "Local" } });
    const chosen = await Promise.all(
      MANY_CLIENTS.map(async (client) => {
        const [one, other] = await Promise.all([
          connect(client, CLUSTER_IP, 80, 2),
          connect(client, CLUSTER_IP, 443, 2),
        ]);
        return { one: reached(one).join(), other: reached(other).join() };
      }),
    );
    expect(chosen.some(({ one, other }) => one !== other)).toBe(true);
    const onNode = reached(await connect(OUTSIDE, NODE, 3001));
    expect(onNode).toEqual([family === 4 ? "10.180.0.1:80" : "[fd77:77::ab4:1]:80"]);
    // The node's own pods use all endpoints, as by the ClusterIP.
    const [client = ""] = MANY_CLIENTS;
    expect(reached(await connect(client, NODE, 3001)).join()).toBe(chosen[0]?.one);
  });

  test("with affinity forget clients whose endpoint is removed, and remember the others across a restart", async () => {
    await arrange({ spec: affinity(10_800) });
    const [first = ""] = reached(await connect(CLIENT));
    expect(await arrange({ spec: affinity(10_800) }, "compare"), "transactions of a restart").toBe(0);
    expect(reached(await connect(CLIENT))).toEqual([first]);
    const others = ENDPOINTS.filter((address) => !first.includes(text(address)));
    await arrange({ spec: affinity(10_800), endpoints: others }, "change");
    const [second = ""] = reached(await connect(CLIENT));
    expect(second).not.toBe(first);
    await arrange({ spec: affinity(10_800) }, "change");
    expect(reached(await connect(CLIENT))).toEqual([second]);
  });

  test("with affinity forget clients after the timeout", async () => {
    await arrange({ spec: affinity(1) });
    const first = reached(await connect(CLIENT));
    expect(first).toHaveLength(1);
    await eventually(
      async () => {
        await new Promise((resolve) => setTimeout(resolve, 1500));
        expect(reached(await connect(CLIENT))).not.toEqual(first);
      },
      30_000,
      0,
    );
  });

  test("do not disturb streams when their endpoint and Service are removed", async () => {
    // An echo server keeps its port, and listens in both families.
    const endpointPort = 7000 + family;
    await arrange({ endpointPort });
    await Promise.all(["pods", "remote"].map((host) => bed.hosts[host as "pods" | "remote"].serve(host, [])));
    await Promise.all([bed.hosts.pods.echo(endpointPort), bed.hosts.remote.echo(endpointPort)]);
    const streams = [1, 2, 3, 4].map(() => bed.hosts.client.converse(text(CLUSTER_IP), 80, 1500, 5));
    const steps: Shape[] = [
      { endpointPort, endpoints: ENDPOINTS.slice(1) },
      { endpointPort, endpoints: [] },
      { endpointPort, services: [] },
    ];
    for (const step of steps) {
      await new Promise((resolve) => setTimeout(resolve, 300));
      await bed.program({ do: "change", case: inFamily(shaped(step)) });
    }
    for (const { sent, echoed } of await Promise.all(streams)) {
      expect(sent).toBeGreaterThan(10);
      expect(echoed).toBe(sent);
    }
  });

  test("answer an echo request to a ClusterIP with port unreachable, and none to an address that no Service has", async () => {
    await arrange({});
    const ping = (host: "client" | "node", address: string) =>
      bed.hosts[host].run("ping", ["-n", "-c", "1", "-W", "1", text(address)]);
    const unreachable = /port unreachable/i;
    for (const host of ["client", "node"] as const) {
      const refused = await ping(host, CLUSTER_IP);
      expect(refused.stdout).toMatch(unreachable);
      expect(refused.status).not.toBe(0);
      const dropped = await ping(host, UNALLOCATED);
      expect(dropped.stdout).not.toMatch(unreachable);
      expect(dropped.status).not.toBe(0);
    }
    expect((await ping("client", NODE)).status).toBe(0);
  });

  test("preserve a pod's address towards its neighbours on the bridge, and use the node's towards the pod itself", async () => {
    await arrange({});
    await bed.program({ do: "change", case: inFamily(shaped({ endpoints: BRIDGED })) });
    const served = bridged.map(({ addresses, inside }, at) =>
      inside.serve(`bridged ${at}`, [{ address: addresses[family], port: 80, transport: "tcp" }]),
    );
    await Promise.all(served);
    const clusterIP = text(CLUSTER_IP);
    for (const { addresses, inside } of bridged) {
      const from = addresses[family];
      const results = await inside.probe({
        from,
        to: clusterIP,
        port: 80,
        transport: "tcp",
        times: 32,
        timeoutMs: 10_000,
      });
      const sources = results.map((result) =>
        "failure" in result ? result : { at: result.at, seen: addressIn(result.seen) },
      );
      expect(new Set(sources.map((source) => JSON.stringify(source)))).toEqual(
        new Set(
          bridged.map(({ addresses: { [family]: at } }) =>
            JSON.stringify({ at: socketAddress(at, 80), seen: at === from ? GATEWAYS[family] : from }),
          ),
        ),
      );
    }
  });

  test("masquerade once if an overlay carries the packet: the outer packets have no mark", async () => {
    await arrange({ endpoints: ENDPOINTS.slice(1) });
    await withOverlay(family, ENDPOINTS.slice(1).map(text), async () => {
      const answers = await connect(OUTSIDE, NODE, 3001);
      const overlay = family === 4 ? "198.18.100.1" : "fd99:100::1";
      for (const { seen } of answers) expect(seen.replace(/^\[/, "").startsWith(overlay)).toBe(true);
      const { marked, unmarked, inner } = await countersOf("node");
      expect(inner, "packets that entered the overlay").toBeGreaterThan(0);
      expect(unmarked, "packets of the overlay").toBeGreaterThan(0);
      expect(marked, "packets of the overlay with the mark").toBe(0);
    });
  });
});

/** Sends packets for the addresses through a VXLAN device from `node` to `other`, and counts them at the node. */
async function withOverlay(family: 4 | 6, addresses: readonly string[], body: () => Promise<void>): Promise<void> {
  const ends = [
    ["node", "other", 1, 2],
    ["other", "node", 2, 1],
  ] as const;
  const own = (end: number) => (family === 4 ? `198.18.100.${end}` : `fd99:100::${end}`);
  for (const [host, peer, end] of ends) {
    const inside = bed.hosts[host];
    const ip = (...args: string[]) => inside.succeed("ip", args);
    const underlay = ["local", nextHop(peer, host, 4), "remote", nextHop(host, peer, 4), "dev", device(peer)];
    await ip("link", "add", "overlay", "type", "vxlan", "id", "7", "dstport", "8472", ...underlay);
    await ip(
      "address",
      "add",
      `${own(end)}/${family === 4 ? 24 : 64}`,
      "dev",
      "overlay",
      ...(family === 6 ? ["nodad"] : []),
    );
    await ip("link", "set", "overlay", "up");
  }
  for (const address of addresses) {
    await bed.hosts.node.succeed("ip", ["route", "replace", address, "via", own(2), "dev", "overlay"]);
  }
  await bed.hosts.node.succeed("nft", [OVERLAY_WATCH]);
  try {
    await body();
  } finally {
    await bed.hosts.node.succeed("nft", ["delete", "table", "inet", "overlay-watch"]);
    for (const address of addresses) {
      const hop = ["via", nextHop("node", "other", family), "dev", device("other")];
      await bed.hosts.node.succeed("ip", ["route", "replace", address, ...hop]);
    }
    for (const [host] of ends) await bed.hosts[host].succeed("ip", ["link", "del", "overlay"]);
  }
}

/** Runs before weft's rules see the outer packet: those rules would remove the mark, after a second masquerade. */
const OVERLAY_WATCH = `table inet overlay-watch {
  counter marked { }
  counter unmarked { }
  counter inner { }
  chain output {
    type filter hook output priority raw; policy accept;
    udp dport 8472 meta mark & 0x4000 != 0 counter name marked
    udp dport 8472 meta mark & 0x4000 == 0 counter name unmarked
  }
  chain postrouting {
    type filter hook postrouting priority raw; policy accept;
    oifname "overlay" meta mark & 0x4000 != 0 counter name inner
  }
}`;

async function countersOf(host: "node"): Promise<Record<"marked" | "unmarked" | "inner", number>> {
  const listed = await bed.hosts[host].succeed("nft", ["-j", "list", "counters", "table", "inet", "overlay-watch"]);
  const { nftables } = JSON.parse(listed) as { nftables: { counter?: { name: string; packets: number } }[] };
  const of = (name: string) => nftables.find(({ counter }) => counter?.name === name)?.counter?.packets ?? 0;
  return { marked: of("marked"), unmarked: of("unmarked"), inner: of("inner") };
}
