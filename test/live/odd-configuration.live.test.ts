/** weftd with unusual files and configurations of other programs: how it handles them, and what it reports. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { afterEach, expect, test } from "vitest";
import { Cleanup } from "./harness/cleanup.ts";
import { BIN } from "./harness/cluster.ts";
import { run } from "./harness/command.ts";
import { makeFolder } from "./harness/folder.ts";
import { Inside } from "./harness/inside.ts";
import { makeNamespace } from "./harness/namespace.ts";
import { eventually, Running } from "./harness/process.ts";
import { Runtime } from "./harness/runtime.ts";

let cleanup = new Cleanup();
afterEach(async () => {
  await cleanup.run();
  cleanup = new Cleanup();
});

const NODE = "nodes: [{name: n1, podCIDRs: [10.244.1.0/24], addresses: [192.0.2.1]}]";
const NET_CONF = '{"Network":"10.244.0.0/16","Backend":{"Type":"host-gw"}}';

const NOTHING = (_confDir: string): void => undefined;

/** Starts weftd on a host after `prepare` has left its files. weftd need not become ready. */
async function startHost({ nodes = NODE, netConf = NET_CONF, prepare = NOTHING } = {}) {
  const folder = makeFolder("odd", cleanup);
  const confDir = `${folder}/net.d`;
  for (const name of ["net.d", "run", "state"]) mkdirSync(`${folder}/${name}`);
  const [nodesFile, netConfFile] = [`${folder}/nodes.yaml`, `${folder}/net-conf.json`];
  for (const [path, text] of [
    [nodesFile, nodes],
    [netConfFile, netConf],
  ] as const) {
    if (text === "FIFO") execFileSync("mkfifo", [path]);
    else writeFileSync(path, text);
  }
  prepare(confDir);
  const namespace = await makeNamespace("odd", cleanup);
  const inside = await Inside.enter(namespace, cleanup, `${folder}/state`);
  await inside.succeed("ip", ["link", "add", "eth0", "type", "veth", "peer", "name", "far0"]);
  for (const name of ["lo", "eth0", "far0"]) await inside.succeed("ip", ["link", "set", name, "up"]);
  await inside.succeed("ip", ["address", "add", "192.0.2.1/24", "dev", "eth0"]);
  const args = [
    ...["--nodes", nodesFile, "--node-name", "n1", "--net-conf", netConfFile],
    ...["--cni-conf-dir", confDir, "--run-dir", `${folder}/run`],
  ];
  const weftd = new Running(namespace, `${BIN}/weftd`, args, cleanup);
  const readyz = async () => (await inside.ask("http://127.0.0.1:9468/readyz")).body;
  const doctor = () =>
    inside.run(`${BIN}/weft`, [
      ...["doctor", "--quiet", "--cni-conf-dir", confDir, "--cni-bin-dir", BIN, "--run-dir", `${folder}/run`],
    ]);
  return { folder, confDir, inside, weftd, readyz, doctor, runtime: new Runtime(inside, confDir, BIN) };
}

test("a directory and a FIFO named like a conflist are skipped with a warning", async () => {
  const { weftd, readyz, confDir, runtime } = await startHost({
    prepare(folder) {
      mkdirSync(`${folder}/10-flannel.conflist`);
      execFileSync("mkfifo", [`${folder}/00-fifo.conf`]);
    },
  });
  await eventually(async () => expect(await readyz()).toMatch(/^ready/));
  expect(readdirSync(confDir)).toContain("05-weft.conflist");
  await weftd.says(/10-flannel\.conflist is a directory, not a file; it is ignored/);
  await weftd.says(/00-fifo\.conf is a FIFO, not a file; some runtimes then load no network/);
  const pod = await makeNamespace("odd-pod", cleanup);
  expect((await runtime.add("pod", pod.path)).result.ips).toHaveLength(1);
});

test("a FIFO instead of the nodes file is reported, and SIGTERM still ends weftd", async () => {
  const { weftd, readyz } = await startHost({ nodes: "FIFO" });
  await eventually(async () => expect(await readyz()).toMatch(/nodes file .*nodes\.yaml is a FIFO: expected a file/));
  await weftd.stop("SIGTERM");
});

test("a FIFO instead of net-conf.json ends weftd with an error that has its path", async () => {
  const { weftd } = await startHost({ netConf: "FIFO" });
  await eventually(() => expect(weftd.isRunning).toBe(false));
  expect(weftd.output).toMatch(/net-conf\.json is a FIFO: expected a file/);
});

test("weftd accepts what flanneld accepts: a type in capitals, a network with host bits", async () => {
  const { weftd, readyz, inside } = await startHost({
    netConf: '{"Network":"10.244.1.5/16","Backend":{"Type":"VXLAN"}}',
  });
  await eventually(async () => expect(await readyz()).toMatch(/^ready/));
  await weftd.says(/10\.244\.1\.5\/16 has host bits set: using 10\.244\.0\.0\/16/);
  expect(await inside.json("ip", ["-j", "link", "show", "flannel.1"])).toMatchObject([{ ifname: "flannel.1" }]);
});

test("a podCIDR inside another one is omitted, and pods start", async () => {
  const { readyz, runtime, confDir } = await startHost({
    nodes: NODE.replace("10.244.1.0/24", "10.244.0.0/23, 10.244.1.0/24"),
  });
  await eventually(async () =>
    expect(await readyz()).toMatch(
      /^ready\n\[\+\] subnet: 10\.244\.0\.0\/23$[\s\S]*^\[!\] subnet: 10\.244\.1\.0\/24 is contained in/m,
    ),
  );
  expect(readFileSync(`${confDir}/05-weft.conflist`, "utf8")).not.toContain("10.244.1.0/24");
  const pod = await makeNamespace("odd-pod", cleanup);
  expect((await runtime.add("pod", pod.path)).result.ips).toHaveLength(1);
});

test("podCIDRs too small for a pod keep the node from being ready, with the reason", async () => {
  const { readyz, confDir } = await startHost({ nodes: NODE.replace("10.244.1.0/24", "10.244.1.0/31") });
  await eventually(async () => expect(await readyz()).toMatch(/^\[-\] subnet: no pod can .*10\.244\.1\.0\/31/m));
  expect(existsSync(`${confDir}/05-weft.conflist`)).toBe(false);
});

const flannelWith = (portmap: object) =>
  JSON.stringify({
    ...{ name: "cbr0", cniVersion: "0.3.1" },
    plugins: [
      { type: "flannel", delegate: { isDefaultGateway: true } },
      { type: "firewall", backend: "iptables", iptablesAdminChainName: "NOMAD-ADMIN" },
      { type: "portmap", capabilities: { portMappings: true }, ...portmap },
    ],
  });
const REFUSED = { conditionsV4: ["-m", "mac", "--mac-source", "02:00:00:00:00:01"] };

test("flannel's network with a key that weft's plugins reject stays in force, and all tools report it", async () => {
  const { readyz, confDir, doctor, folder } = await startHost({
    prepare: (to) => writeFileSync(`${to}/10-flannel.conflist`, flannelWith(REFUSED)),
  });
  await eventually(async () =>
    expect(await readyz()).toMatch(
      /^not ready[\s\S]*^\[-\] conflist: 10-flannel\.conflist in .*portmap: conditionsV4/m,
    ),
  );
  expect(readdirSync(confDir)).toEqual(["10-flannel.conflist"]);
  expect((await doctor()).stdout).toMatch(/10-flannel\.conflist: portmap: conditionsV4/);
  const bin = `${folder}/bin`;
  const installed = await run(`${BIN}/weft`, ["install", bin, "--cni-conf-dir", confDir]);
  expect(installed).toMatchObject({
    status: 0,
    stdout: expect.stringMatching(/Warning: .*10-flannel\.conflist: portmap: cond/),
  });
});

test("flannel's network with keys for iptables is taken over, and pods start", async () => {
  const { readyz, confDir, runtime, doctor } = await startHost({
    prepare: (to) =>
      writeFileSync(`${to}/10-flannel.conflist`, flannelWith({ externalSetMarkChain: "KUBE-MARK-MASQ" })),
  });
  await eventually(async () => expect(await readyz()).toMatch(/^ready/));
  expect(readdirSync(confDir)).toEqual(["05-weft.conflist", "10-flannel.conflist.weft-disabled"]);
  const pod = await makeNamespace("odd-pod", cleanup);
  expect((await runtime.add("pod", pod.path)).result.ips).toHaveLength(1);
  expect((await doctor()).stdout).not.toMatch(/conflist/);
});
