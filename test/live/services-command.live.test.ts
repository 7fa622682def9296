/**
 * weft services and weft explain on real kernels: their output about a connection to a Service is compared with real
 * connections, with weftd and without.
 */
import { chmodSync, copyFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Cleanup } from "./harness/cleanup.ts";
import { BIN, Cluster, ECHO_PORT, type Node, type Pod } from "./harness/cluster.ts";
import { makeFolder } from "./harness/folder.ts";
import { eventually, PATIENCE, Running } from "./harness/process.ts";
import { ServiceObjects } from "./harness/services.ts";

const DONE = 0;
const WARNINGS = 4;
const FAULTS = 5;

interface Hop {
  readonly at: string;
  readonly state: string;
  readonly text: string;
  readonly show?: string;
}

const cleanup = new Cleanup();
let cluster: Cluster;
let objects: ServiceObjects;
let first: Node;
let second: Node;
let client: Pod;
let local: Pod;
let remote: Pod;

beforeAll(async () => {
  cluster = await Cluster.start("vxlan", cleanup, { families: "dual" });
  cluster.weftdEnvironment = { WEFTD_SERVICE_PROXY: "nftables", WEFTD_EXTERNAL_IPS: "203.0.113.0/24,2001:db8:5::/64" };
  objects = new ServiceObjects(cluster);
  first = await cluster.addNode(1);
  second = await cluster.addNode(2);
  for (const node of [first, second]) await cluster.ready(node);
  client = await cluster.addPod(first, "client");
  local = await cluster.addPod(first, "local");
  remote = await cluster.addPod(second, "remote");
  // A node's own connections to ClusterIPs need a route; any destination works.
  await first.inside.succeed("ip", ["route", "add", "default", "via", "192.0.2.2"]);
  await first.inside.succeed("ip", ["route", "add", "default", "via", "2001:db8::2"]);
}, 60_000 * PATIENCE);

afterAll(() => cleanup.run());

async function weft(...args: string[]) {
  const { status, stdout, stderr } = await first.inside.run(`${BIN}/weft`, [...args, "-o", "json"]);
  expect(stderr).toBe("");
  return { status, json: JSON.parse(stdout) };
}

const PLACES = () => ["--run-dir", first.runDir, "--cni-conf-dir", first.confDir];

async function explain(destination: string, from?: string, ...more: string[]) {
  const source = from === undefined ? [] : ["--from", from];
  const { status, json } = await weft("explain", destination, ...source, ...more, ...PLACES());
  const { hops } = json as { hops: Hop[] };
  return { status, hops, at: (name: string) => hops.find((hop) => hop.at === name), last: hops.at(-1) as Hop };
}

const target = (pod: Pod, index: number, ready = true) => ({
  ...{ address: pod.addresses[index] ?? "", node: pod.node.name, conditions: { ready } },
});

/** Waits until the node's kernel has the frontend. */
const programmed = (service: string, address: string) =>
  eventually(async () => {
    const { json } = await weft("services", `default/${service}`);
    const { frontends } = json.services[0] as { frontends: { address: string; connections: number | null }[] };
    expect(frontends.find((frontend) => frontend.address === address)?.connections).not.toBeNull();
    expect(frontends.map((frontend) => frontend.address)).toContain(address);
  });

describe.each<[family: string, index: number, vip: string, external: string]>([
  ["IPv4", 0, "10.96.0.11", "203.0.113.9"],
  ["IPv6", 1, "fd00:10:96::11", "2001:db8:5::9"],
])("%s", (family, index, vip, external) => {
  const name = `web${index}`;
  const at = (address: string, port: number) => (index === 0 ? `${address}:${port}` : `[${address}]:${port}`);
  const own = () => (index === 0 ? "192.0.2.1" : "2001:db8::1");
  const peer = () => (index === 0 ? "192.0.2.2" : "2001:db8::2");
  const nodePort = 30080 + index;

  beforeAll(async () => {
    await objects.create(name, {
      ...{ clusterIP: vip, clusterIPs: [vip], ipFamilies: [family], type: "NodePort", externalIPs: [external] },
      ports: [{ name: "http", protocol: "TCP", port: 80, nodePort }],
    });
    await objects.createSlice(name, ECHO_PORT, [
      target(local, index),
      target(remote, index),
      target(client, index, false),
    ]);
    await programmed(name, vip);
  });

  test("services shows frontends and endpoints, and counts connections", async () => {
    const before = await weft("services", `default/${name}`);
    const count = ({ json }: typeof before, address: string) =>
      json.services[0].frontends.find((frontend: { address: string }) => frontend.address === address).connections;
    expect(before.status).toBe(DONE);
    expect(before.json.services[0]).toMatchObject({
      frontends: [
        { kind: "ClusterIP", policy: "internal" },
        { kind: "NodePort", policy: "cluster" },
        { kind: "ExternalIP" },
      ],
      endpoints: expect.arrayContaining([
        expect.objectContaining({ isUsed: true, nodeName: "n2" }),
        expect.objectContaining({ isUsed: false, verdict: "not ready" }),
      ]),
    });
    for (let at = 0; at < 3; at++) await client.inside.seenBy(vip, 80);
    expect(count(await weft("services", `default/${name}`), vip)).toBe(count(before, vip) + 3);
  });

  test("explain names the endpoints that real connections reach, and the source address that they see", async () => {
    const toLocal = () => objects.changeSlice(name, [target(local, index)]);
    const toRemote = () => objects.changeSlice(name, [target(remote, index)]);
    const senders: [string, string | undefined, () => Promise<string>, string, number][] = [
      ["a pod to the ClusterIP", client.addresses[index], () => client.inside.seenBy(vip, 80), vip, 80],
      ["the node to the ClusterIP", undefined, () => first.inside.seenBy(vip, 80), vip, 80],
      ["another node to the NodePort", peer(), () => second.inside.seenBy(own(), nodePort), own(), nodePort],
      [
        "a pod to the external address",
        client.addresses[index],
        () => client.inside.seenBy(external, 80),
        external,
        80,
      ],
      ["the endpoint itself", local.addresses[index], () => local.inside.seenBy(vip, 80), vip, 80],
    ];
    for (const [change, pod] of [
      [toLocal, local],
      [toRemote, remote],
    ] as const) {
      await change();
      await eventually(async () =>
        expect((await explain(at(vip, 80), client.addresses[index])).hops.map(({ text }) => text).join("\n")).toContain(
          `sends it to ${at(pod.addresses[index] ?? "", ECHO_PORT)}`,
        ),
      );
      for (const [who, from, seen, address, port] of senders) {
        const { status, hops, last } = await explain(at(address, port), from);
        expect(
          { who, status, state: last.state, compared: hops.some((hop) => hop.at === "compared") },
          JSON.stringify(hops),
        ).toEqual({
          ...{ who, status: DONE, state: "arrives", compared: false },
        });
        const sender = from ?? (await seenAs(address));
        const isMasqueraded = hops.some(({ text }) => text.includes("(masquerade)"));
        expect({ who, isMasqueraded }).toEqual({ who, isMasqueraded: (await seen()) !== sender });
      }
    }
    /** The source address that the node would use. */
    async function seenAs(address: string): Promise<string> {
      const [route] = await first.inside.json<{ prefsrc: string }[]>("ip", ["-j", "route", "get", address]);
      return route?.prefsrc ?? "";
    }
  });

  test("explain shows all endpoints with their probability, and follows a requested one", async () => {
    await objects.changeSlice(name, [target(local, index), target(remote, index)]);
    await eventually(async () =>
      expect((await explain(at(vip, 80), client.addresses[index])).at("prerouting")?.text).toMatch(/50 %.*50 %/),
    );
    const { last } = await explain(at(vip, 80), client.addresses[index], "--endpoint", remote.addresses[index] ?? "");
    expect(last).toMatchObject({ at: "leaves", text: expect.stringContaining("n2") });
  });

  test("a connection without endpoints is rejected, and explain gives the reason", async () => {
    await objects.changeSlice(name, [target(client, index, false)]);
    for (const [from, refused] of [
      [client.addresses[index], () => client.inside.seenBy(vip, 80)],
      [undefined, () => first.inside.seenBy(vip, 80)],
    ] as const) {
      await eventually(() => expect(refused()).rejects.toThrow(/ECONNREFUSED/));
      const { status, last } = await explain(at(vip, 80), from);
      expect(status).toBe(FAULTS);
      expect(last).toMatchObject({
        state: "ends",
        text: expect.stringMatching(/weft-services .* rejects it: .*no usable endpoint/),
      });
    }
    await objects.changeSlice(name, [target(local, index), target(remote, index)]);
    await eventually(() => client.inside.seenBy(vip, 80));
  });

  test("explain reports a port or an address that no Service has", async () => {
    const port = await explain(at(vip, 81), client.addresses[index]);
    expect({ status: port.status, text: port.last.text }).toEqual({
      status: FAULTS,
      text: expect.stringMatching(/rejects it: .*no such port/),
    });
    await expect(client.inside.seenBy(vip, 81)).rejects.toThrow(/ECONNREFUSED/);
  });

  test("a client with affinity gets its endpoint, and other clients any", async () => {
    await objects.change(name, { spec: { sessionAffinity: "ClientIP" } });
    await eventually(async () => {
      const { text = "" } = (await explain(at(vip, 80), client.addresses[index])).at("service") ?? {};
      expect(text).toMatch(/a client keeps its endpoint for 10800 s/);
    });
    const prerouting = async (pod: Pod) => (await explain(at(vip, 80), pod.addresses[index])).at("prerouting")?.text;
    await eventually(async () => expect(await prerouting(client)).toMatch(/50 %.*50 %/));
    await client.inside.seenBy(vip, 80);
    const { status, hops } = await explain(at(vip, 80), client.addresses[index]);
    expect(hops.find((hop) => hop.at === "prerouting")?.text).toMatch(/sends it to \S+:7007$/);
    expect({ status, notes: hops.filter(({ state }) => state !== "goes" && state !== "arrives") }).toEqual({
      ...{ status: DONE, notes: [] },
    });
    expect(await prerouting(local)).toMatch(/50 %.*50 %/);
    await objects.change(name, { spec: { sessionAffinity: "None" } });
    await eventually(async () => expect(await prerouting(client)).toMatch(/50 %.*50 %/));
  });

  test("explain reports a difference between the kernel's and weftd's result", async () => {
    const table = index === 0 ? "ip" : "ip6";
    await first.inside.succeed("nft", [
      `add table ${table} site; add chain ${table} site p { type nat hook prerouting priority -150; }; add rule ${table} site p ${table} daddr ${vip} tcp dport 80 dnat to ${at(remote.addresses[index] ?? "", 9)}`,
    ]);
    const { status, at: hopAt } = await explain(at(vip, 80), client.addresses[index]);
    await first.inside.succeed("nft", [`delete table ${table} site`]);
    expect(status).toBe(FAULTS);
    expect(hopAt("compared")).toMatchObject({
      state: "astray",
      text: expect.stringMatching(/weftd expects it to go to/),
    });
    expect((await explain(at(vip, 80), client.addresses[index])).status).toBe(DONE);
  });
});

test("a frontend that another Service has is shown with its owner", async () => {
  await objects.create("late", {
    clusterIP: "10.96.0.40",
    clusterIPs: ["10.96.0.40"],
    externalIPs: ["203.0.113.9", "198.51.100.1"],
  });
  await eventually(async () => {
    const { status, json } = await weft("services", "default/late");
    expect(status).toBe(WARNINGS);
    expect(json.services[0]).toMatchObject({ lost: [{ address: "203.0.113.9", winner: "default/web0" }] });
  });
  const { stdout } = await first.inside.run(`${BIN}/weft`, ["services", "-n", "default"]);
  expect(stdout).toMatch(/203\.0\.113\.9:80\/tcp +ExternalIP +lost: default\/web0 has it as its ExternalIP/);
  expect((await doctor()).map(({ check }) => check)).toContain("service-claims");
  await objects.remove("late");
});

interface Finding {
  readonly check: string;
  readonly severity: string;
  readonly seen: string;
}

async function doctor(): Promise<Finding[]> {
  const { json } = await weft("doctor", "--quiet", "--cni-bin-dir", BIN, ...PLACES());
  return (json as { findings: Finding[] }).findings;
}
const ofServices = (findings: readonly Finding[]) =>
  findings
    .map(({ check, severity }) => `${severity} ${check}`)
    .filter((text) => /service|kube-proxy|external/.test(text));

describe("doctor", () => {
  test("reports nothing if the Services are correct", async () => {
    await eventually(async () =>
      expect(ofServices(await doctor()).filter((text) => !text.includes("service-room"))).toEqual([]),
    );
  });

  test("finds a running kube-proxy, in this network namespace only", async () => {
    const folder = makeFolder("kube-proxy", cleanup);
    copyFileSync("/bin/sleep", `${folder}/kube-proxy`);
    chmodSync(`${folder}/kube-proxy`, 0o755);
    const elsewhere = new Running(second.namespace, `${folder}/kube-proxy`, ["600"], cleanup);
    expect(ofServices(await doctor())).not.toContain("error kube-proxy");
    const here = new Running(first.namespace, `${folder}/kube-proxy`, ["600"], cleanup);
    await eventually(async () => expect(ofServices(await doctor())).toContain("error kube-proxy"));
    for (const running of [here, elsewhere]) await running.stop("SIGKILL");
  });

  test("finds no missing kernel option after weftd has programmed Services, and changes nothing", async () => {
    const before = await first.inside.succeed("nft", ["list", "tables"]);
    const { json } = await weft("doctor", "--quiet", "--only", "service-kernel", "--cni-bin-dir", BIN, ...PLACES());
    expect(json.findings).toEqual([]);
    expect(await first.inside.succeed("nft", ["list", "tables"])).toBe(before);
  });
});

describe("without weftd", () => {
  beforeAll(() => first.weftd.stop("SIGKILL"));

  test("services shows the kernel's state, and says so", async () => {
    const { status, json } = await weft("services");
    expect({ status, source: json.source }).toEqual({ status: FAULTS, source: "kernel" });
    expect(json.services.flatMap((service: { frontends: unknown[] }) => service.frontends)).toContainEqual(
      expect.objectContaining({
        ...{ kind: "ClusterIP", address: "10.96.0.11", port: 80, policy: "internal" },
        endpoints: expect.arrayContaining([`${local.address}:${ECHO_PORT}`, `${remote.address}:${ECHO_PORT}`]),
      }),
    );
    const { stdout } = await first.inside.run(`${BIN}/weft`, ["services"]);
    expect(stdout).toMatch(/^weftd does not answer .* the kernel's table inet weft-services/);
  });

  test("explain follows the kernel's rules as before", async () => {
    const { status, at, last } = await explain("10.96.0.11:80", client.address);
    expect(at("service")?.text).toMatch(/a ClusterIP in the kernel's table/);
    expect(at("prerouting")?.text).toMatch(/50 %.*50 %/);
    expect({ status, state: last.state }).toEqual({ status: DONE, state: "arrives" });
  });

  test("doctor reports a table without a weftd", async () => {
    expect(ofServices(await doctor())).toContain("error stale-services");
  });
});
