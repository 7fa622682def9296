/**
 * A node that starts with only its saved state: no kube-proxy, no rule for the ClusterIP, and the first of two API
 * servers dead. weftd runs as in a pod, with a service account and with the ClusterIP in its environment.
 */
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { askControl } from "../apiserver/control.ts";
import type { JsonObject } from "../apiserver/resource.ts";
import { Cleanup } from "./harness/cleanup.ts";
import { BIN } from "./harness/cluster.ts";
import { succeed } from "./harness/command.ts";
import { makeFolder } from "./harness/folder.ts";
import { Inside } from "./harness/inside.ts";
import { makeNamespace, type Namespace } from "./harness/namespace.ts";
import { eventually, Running } from "./harness/process.ts";

const ROOT = new URL("../..", import.meta.url).pathname;
const TLS = `${ROOT}test/vectors/tls`;
const CLUSTER_IP = "10.96.0.1";
const FIRST = "192.0.2.11";
const SECOND = "192.0.2.12";

const cleanup = new Cleanup();
let folder = "";
let link: Namespace;
let node: { readonly namespace: Namespace; readonly inside: Inside };
const servers = new Map<string, { readonly process: Running; readonly namespace: Namespace }>();

const service: JsonObject = {
  metadata: { name: "kubernetes", namespace: "default" },
  spec: { clusterIP: CLUSTER_IP, clusterIPs: [CLUSTER_IP], ports: [{ name: "https", port: 443, targetPort: 6443 }] },
};

const slice: JsonObject = {
  metadata: { name: "kubernetes", namespace: "default", labels: { "kubernetes.io/service-name": "kubernetes" } },
  addressType: "IPv4",
  ports: [{ name: "https", port: 6443, protocol: "TCP" }],
  endpoints: [FIRST, SECOND].map((address) => ({ addresses: [address], conditions: { ready: true } })),
};

async function plugIn(label: string, address: string): Promise<Namespace> {
  const namespace = await makeNamespace(`boot-${label}`, cleanup);
  const peer = ["type", "veth", "peer", "name", "eth0", "netns", namespace.name];
  await succeed("ip", ["-n", link.name, "link", "add", label, ...peer]);
  await succeed("ip", ["-n", link.name, "link", "set", label, "master", "br0", "up"]);
  await succeed("ip", ["-n", namespace.name, "address", "add", `${address}/24`, "dev", "eth0"]);
  await succeed("ip", ["-n", namespace.name, "link", "set", "eth0", "up"]);
  return namespace;
}

/** Both servers give the same answers, like several API servers of one cluster. */
async function startServer(address: string): Promise<void> {
  const namespace = servers.get(address)?.namespace ?? (await plugIn(`api${address.slice(-2)}`, address));
  const control = `${folder}/${address}.sock`;
  rmSync(control, { force: true });
  const process_ = new Running(
    namespace,
    process.execPath,
    [
      ...[`${ROOT}test/apiserver/main.ts`, "--listen", `${address}:6443`, "--control-socket", control],
      ...["--token", "secret", "--tls-cert", `${TLS}/kubernetes.crt`, "--tls-key", `${TLS}/kubernetes.key`],
    ],
    cleanup,
  );
  await process_.says(/"ready":true/);
  servers.set(address, { process: process_, namespace });
  await askControl(control, {
    create: [
      {
        metadata: { name: "n1" },
        spec: { podCIDR: "10.244.1.0/24", podCIDRs: ["10.244.1.0/24"] },
        status: { addresses: [{ type: "InternalIP", address: "192.0.2.1" }] },
      },
    ],
    ask: [
      { method: "POST", target: "/api/v1/namespaces/default/services", body: service },
      { method: "POST", target: "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", body: slice },
    ],
  });
}

/**
 * Starts weftd as in its pod: a private mount namespace has the service account's files where client libraries expect
 * them.
 */
function startWeftd(...more: readonly string[]): Running {
  const account = "/run/secrets/kubernetes.io/serviceaccount";
  const script = `mount -t tmpfs tmpfs /run && mkdir -p ${account} && cp "$0"/account/* ${account} && exec "$@"`;
  const environment = [
    ...[`KUBERNETES_SERVICE_HOST=${CLUSTER_IP}`, "KUBERNETES_SERVICE_PORT=443"],
    `KUBERNETES_PORT=tcp://${CLUSTER_IP}:443`,
  ];
  return new Running(
    node.namespace,
    "unshare",
    [
      ...["-m", "sh", "-c", script, folder, "env", ...environment, `${BIN}/weftd`, "--node-name", "n1"],
      ...["--net-conf", `${folder}/net-conf.json`, "--cni-conf-dir", `${folder}/net.d`],
      ...["--run-dir", `${folder}/run`, "--state-dir", `${folder}/state`, ...more],
    ],
    cleanup,
  );
}

const namespaceOf = (address: string) => servers.get(address)?.namespace.name ?? "";

/** Rules that translate the ClusterIP, in place of kube-proxy's. */
const RULES = `table ip proxy {
  chain output {
    type nat hook output priority -100;
    ip daddr ${CLUSTER_IP} tcp dport 443 dnat to ${FIRST}:6443;
  }
}`;

const file = () => `${folder}/state/apiserver.json`;
const metric = async () =>
  (await node.inside.ask("http://127.0.0.1:9468/metrics")).body.match(/^weft_api_server\{.*$/gm)?.join() ?? "";

beforeAll(async () => {
  folder = makeFolder("boot", cleanup);
  for (const name of ["account", "net.d", "run"]) mkdirSync(`${folder}/${name}`);
  cpSync(`${TLS}/kubernetes-ca.crt`, `${folder}/account/ca.crt`);
  writeFileSync(`${folder}/account/token`, "secret");
  writeFileSync(`${folder}/net-conf.json`, '{"Network":"10.244.0.0/16","Backend":{"Type":"host-gw"}}');
  link = await makeNamespace("boot-link", cleanup);
  await succeed("ip", ["-n", link.name, "link", "add", "br0", "type", "bridge"]);
  await succeed("ip", ["-n", link.name, "link", "set", "br0", "up"]);
  for (const address of [FIRST, SECOND]) await startServer(address);
  const namespace = await plugIn("n1", "192.0.2.1");
  node = { namespace, inside: await Inside.enter(namespace, cleanup) };
  // A packet needs a route before a rule can translate it.
  await node.inside.succeed("ip", ["route", "add", "default", "via", "192.0.2.254"]);
});

afterAll(() => cleanup.run());

test("weftd says what to do if it knows no API server and the node has no rule for the ClusterIP", async () => {
  const weftd = startWeftd();
  await eventually(() => expect(weftd.output).toMatch(/ClusterIP, which works only .*--apiserver/), 45_000);
  expect(existsSync(file())).toBe(false);
  await weftd.stop("SIGTERM");
});

test("with a proxy, weftd gets its Nodes through the ClusterIP and saves the API servers' addresses", async () => {
  const { stderr } = await node.inside.run("nft", ["-f", "-"], RULES);
  expect(stderr).toBe("");
  const weftd = startWeftd();
  await weftd.says(/"msg":"Nodes listed"/);
  await eventually(() =>
    expect(JSON.parse(readFileSync(file(), "utf8"))).toEqual({
      ...{ version: 1, endpoints: [`${FIRST}:6443`, `${SECOND}:6443`] },
    }),
  );
  expect(statSync(file()).mode & 0o777).toBe(0o600);
  expect(await metric()).toBe(`weft_api_server{server="https://${CLUSTER_IP}",origin="service"} 1`);
  await weftd.stop("SIGTERM");
});

/** The node's name decides which server it tries first. One of the two cases is the harder one. */
test.each([
  [FIRST, SECOND],
  [SECOND, FIRST],
])("after a reboot without a proxy, with %s dead, weftd gets its Nodes from %s", async (dead, alive) => {
  await node.inside.succeed("nft", ["flush", "ruleset"]);
  await node.inside.succeed("conntrack", ["-F"]);
  await node.inside.succeed("ip", ["neighbour", "flush", "all"]);
  rmSync(`${folder}/run`, { recursive: true });
  mkdirSync(`${folder}/run`);
  // As without power: nothing answers, not even ARP.
  await succeed("ip", ["-n", namespaceOf(dead), "link", "set", "eth0", "down"]);
  const weftd = startWeftd("--service-proxy", "nftables");
  const started = Date.now();
  await weftd.says(/"msg":"Nodes listed"/);
  console.log(`Nodes listed ${Date.now() - started} ms after weftd's start`);
  expect(await metric()).toBe(`weft_api_server{server="https://${alive}:6443",origin="known"} 1`);
  expect(weftd.output).toContain(
    `"server":"https://${alive}:6443","origin":"known","msg":"connected to an API server"`,
  );
  // weftd's rules then translate the ClusterIP for all other programs of the node.
  const ask = () => node.inside.ask(`https://${CLUSTER_IP}/api/v1/nodes`, { ca: `${TLS}/kubernetes-ca.crt` });
  await eventually(async () => expect(await ask()).toMatchObject({ status: 401 }), 20_000);
  await weftd.stop("SIGTERM");
  await succeed("ip", ["-n", namespaceOf(dead), "link", "set", "eth0", "up"]);
});

test("weftd changes to the other server when its own ends, and gets new Nodes from there", async () => {
  const weftd = startWeftd();
  await weftd.says(/"msg":"Nodes listed"/);
  const used = [FIRST, SECOND].find((address) => weftd.output.includes(`"server":"https://${address}:6443"`)) ?? "";
  const other = used === FIRST ? SECOND : FIRST;
  await servers.get(used)?.process.stop("SIGKILL");
  await eventually(async () =>
    expect(await metric()).toBe(`weft_api_server{server="https://${other}:6443",origin="known"} 1`),
  );
  await askControl(`${folder}/${other}.sock`, {
    create: [
      {
        metadata: { name: "n2" },
        spec: { podCIDR: "10.244.2.0/24", podCIDRs: ["10.244.2.0/24"] },
        status: { addresses: [{ type: "InternalIP", address: "192.0.2.2" }] },
      },
    ],
  });
  await eventually(async () =>
    expect(await node.inside.succeed("ip", ["route", "show", "proto", "119"])).toContain("10.244.2.0/24"),
  );
  await weftd.stop("SIGTERM");
});
