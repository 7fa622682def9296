/** Two hosts without Kubernetes: a file with all nodes replaces the API server. */
import { mkdirSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Cleanup } from "./harness/cleanup.ts";
import { BIN } from "./harness/cluster.ts";
import { succeed } from "./harness/command.ts";
import { makeFolder } from "./harness/folder.ts";
import { Inside } from "./harness/inside.ts";
import { makeNamespace, type Namespace } from "./harness/namespace.ts";
import { eventually, Running } from "./harness/process.ts";
import { Runtime } from "./harness/runtime.ts";

const cleanup = new Cleanup();
let folder = "";
let hosts: Host[] = [];

interface Host {
  readonly namespace: Namespace;
  readonly inside: Inside;
  readonly weftd: Running;
  readonly runtime: Runtime;
}

const entry = (n: number) => `  - name: n${n}\n    podCIDRs: [10.244.${n}.0/24]\n    addresses: [192.0.2.${n}]\n`;
const writeNodes = (...entries: string[]) => writeFileSync(`${folder}/nodes.yaml`, `nodes:\n${entries.join("")}`);

/** The alternative name that systemd gives a card whose name exceeds the kernel's limit. */
const ALTERNATIVE = "enp0s31f6verylongname";

async function startHost(n: number, namespace: Namespace, ...more: readonly string[]): Promise<Host> {
  const [confDir, runDir, stateDir] = ["net.d", "run", "state"].map((part) => `${folder}/n${n}/${part}`) as [
    string,
    string,
    string,
  ];
  for (const directory of [confDir, runDir, stateDir]) mkdirSync(directory, { recursive: true });
  const inside = await Inside.enter(namespace, cleanup, stateDir);
  await inside.succeed("ip", ["address", "add", `192.0.2.${n}/24`, "dev", "eth0"]);
  await inside.succeed("ip", ["link", "set", "eth0", "up"]);
  const weftd = new Running(
    namespace,
    `${BIN}/weftd`,
    [
      ...["--nodes", `${folder}/nodes.yaml`, "--node-name", `n${n}`, "--net-conf", `${folder}/net-conf.json`],
      ...["--cni-conf-dir", confDir, "--run-dir", runDir, "--service-proxy", "nftables", ...more],
    ],
    cleanup,
  );
  return { namespace, inside, weftd, runtime: new Runtime(inside, confDir, BIN) };
}

async function routes({ inside }: Host): Promise<string[]> {
  const found = await inside.json<{ dst: string }[]>("ip", ["-j", "route", "show", "proto", "119"]);
  return found.map(({ dst }) => dst).sort();
}

async function addPod({ runtime }: Host, name: string) {
  const namespace = await makeNamespace(`file-${name}`, cleanup);
  const { result } = await runtime.add(name, namespace.path);
  const inside = await Inside.enter(namespace, cleanup);
  return { inside, address: result.ips[0]?.address.split("/")[0] ?? "" };
}

beforeAll(async () => {
  folder = makeFolder("file", cleanup);
  writeFileSync(`${folder}/net-conf.json`, '{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan"}}');
  writeNodes(entry(1), entry(2));
  const [first, second] = [await makeNamespace("file-n1", cleanup), await makeNamespace("file-n2", cleanup)];
  const peer = ["peer", "name", "eth0", "netns", second.name];
  await succeed("ip", ["-n", first.name, "link", "add", "eth0", "type", "veth", ...peer]);
  await succeed("ip", ["-n", second.name, "link", "property", "add", "dev", "eth0", "altname", ALTERNATIVE]);
  hosts = [await startHost(1, first), await startHost(2, second, "--iface", ALTERNATIVE)];
  for (const { weftd } of hosts) await weftd.says(/conflist written/);
});

afterAll(() => cleanup.run());

test("pods of both hosts reach each other by hardware addresses that are derived, not announced", async () => {
  const [first, second] = hosts as [Host, Host];
  const [near, far] = [await addPod(first, "a"), await addPod(second, "b")];
  await eventually(async () => expect(await near.inside.pings(far.address)).toBe(true));
  expect(await routes(first)).toEqual(["10.244.2.0/24"]);
  for (const { weftd } of hosts) expect(weftd.output).not.toMatch(/the nodes file is wrong about this node/);
});

test("the interface is found by an alternative name longer than an interface name can be", async () => {
  const [, second] = hosts as [Host, Host];
  expect(second.weftd.output).toContain(`--iface ${ALTERNATIVE}`);
  const vteps = await second.inside.json("ip", ["-j", "-d", "link", "show", "type", "vxlan"]);
  expect(vteps).toMatchObject([{ linkinfo: { info_data: { link: "eth0" } } }]);
});

test("a new version of the file is applied; a broken one is reported with its line and changes nothing", async () => {
  const [first] = hosts as [Host, Host];
  writeNodes(entry(1), entry(2), entry(3));
  await eventually(async () => expect(await routes(first)).toEqual(["10.244.2.0/24", "10.244.3.0/24"]));
  writeNodes(entry(1), entry(2).replace("10.244.2.0/24", "10.244.2.0"));
  await first.weftd.says(/nodes\.yaml: line 6: nodes\[1\]\.podCIDRs\[0\]: .*the data path stays in place/);
  expect(await routes(first)).toEqual(["10.244.2.0/24", "10.244.3.0/24"]);
  writeNodes(entry(1), entry(2));
  await eventually(async () => expect(await routes(first)).toEqual(["10.244.2.0/24"]));
});

test("the file's Services are served on each host, and follow the file", async () => {
  const [first, second] = hosts as [Host, Host];
  const [client, near, far] = [await addPod(first, "c"), await addPod(first, "d"), await addPod(second, "e")];
  for (const { inside } of [near, far]) await inside.listen(7007);
  // A host's own packet needs a route before it can be translated.
  for (const { inside } of hosts) await inside.succeed("ip", ["route", "add", "default", "via", "192.0.2.254"]);
  const service = (...endpoints: string[]) =>
    `services:\n  - name: web\n    clusterIPs: [10.96.0.10]\n    ports: [{ port: 80, targetPort: 7007, nodePort: 30080 }]\n${
      endpoints.length === 0 ? "" : `    endpoints: [${endpoints.join(", ")}]\n`
    }serviceCIDRs: [10.96.0.0/16]\n`;
  const reaches = (host: string, port: number) => client.inside.seenBy(host, port, { timeoutMs: 1000 });
  writeNodes(entry(1), entry(2), service(far.address));
  expect(await eventually(() => reaches("10.96.0.10", 80))).toBe(client.address);
  // The host's address is the Node's primary one, on which NodePorts listen.
  await eventually(() => reaches("192.0.2.1", 30080));
  await eventually(() => second.inside.seenBy("10.96.0.10", 80, { timeoutMs: 1000 }));
  writeNodes(entry(1), entry(2), service());
  await eventually(() => expect(reaches("10.96.0.10", 80)).rejects.toThrow(/ECONNREFUSED/));
  writeNodes(entry(1), entry(2), service(near.address));
  await eventually(() => reaches("10.96.0.10", 80));
  writeNodes(entry(1), entry(2));
  await eventually(() => expect(reaches("10.96.0.10", 80)).rejects.toThrow());
});

test("a file that contradicts the host's state is reported", async () => {
  const [first] = hosts as [Host, Host];
  writeNodes(`${entry(1)}    vtepMAC: 0a:00:00:00:00:01\n`, entry(2));
  await first.weftd.says(/the nodes file is wrong about this node/);
  expect(first.weftd.isRunning).toBe(true);
  writeNodes(entry(1), entry(2));
});
