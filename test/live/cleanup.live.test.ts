/**
 * `weft cleanup` on a node with pods, on which weftd ran, and with objects of other programs: afterwards the node is as
 * before.
 */
import { once } from "node:events";
import { copyFileSync, mkdirSync, readdirSync, realpathSync, rmdirSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Cleanup } from "./harness/cleanup.ts";
import { Cluster, type Families, type Machine, type Mode, type Node } from "./harness/cluster.ts";
import { shell } from "./harness/flannel.ts";
import { inOrder } from "./harness/in-order.ts";
import { OURS, REFERENCE } from "./harness/plugin-bed.ts";

const FOREIGN_CONFLIST = "99-other.conflist";

/** Other programs' devices, routes, rules and files. Some of their names contain weft's own names. */
async function furnish(machine: Machine): Promise<void> {
  await shell(
    machine,
    `sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
    ip link add stray0 type veth peer name stray1
    ip link set stray1 up
    ip link set stray0 up alias "weftless"
    ip address add 198.51.100.1/24 dev stray0
    ip address add 2001:db8:51::1/64 dev stray0 nodad
    ip route add 10.99.0.0/16 via 198.51.100.9 proto 120
    ip route add 2001:db8:99::/48 via 2001:db8:51::9 proto static
    ip link add docker0 type bridge
    ip link add vethforeign type veth peer name vethpeer
    ip link set vethforeign master docker0 up
    ip link add vxforeign type vxlan id 7 dstport 4799 dev eth0
    ip rule add from 198.51.100.0/24 table 77 priority 777
    iptables-nft -P FORWARD DROP
    iptables-nft -A FORWARD -s 172.17.0.0/16 -m comment --comment "weft of wool" -j ACCEPT
    iptables-nft -t nat -A POSTROUTING -s 172.17.0.0/16 -j MASQUERADE
    nft -f -`,
    `table inet stranger {
      set weft_of { type ipv4_addr; elements = { 192.0.2.77 comment "cnidarian" } }
      chain forward { type filter hook forward priority 10; policy drop; ip saddr 172.17.0.0/16 accept comment "weft"; }
    }
    table ip weftish {
      chain c { accept; }
    }`,
  );
  writeFileSync(`${machine.confDir}/${FOREIGN_CONFLIST}`, "{}");
  mkdirSync(bin(machine));
  for (const name of ["bridge", "dhcp"]) copyFileSync(`${realpathSync(REFERENCE)}/${name}`, `${bin(machine)}/${name}`);
}

const bin = ({ stateDir }: Machine) => `${stateDir}/bin`;

/** Everything in the kernel, in the runtime's folders and in weft's paths. */
async function dump(machine: Machine): Promise<unknown> {
  const { inside, confDir } = machine;
  // The kernel changes addresses by itself while it checks them for duplicates.
  await shell(machine, 'until [ -z "$(ip -o -6 address show tentative)" ]; do sleep 0.1; done');
  const links = await inside.json<{ ifname: string; ifalias?: string; master?: string; operstate: string }[]>("ip", [
    ...["-j", "link", "show"],
  ]);
  const lines = async (...words: [string, ...string[]]) =>
    (await inside.succeed(words[0], words.slice(1))).split("\n").sort();
  return {
    links: links.map(({ ifname, ifalias, master }) => [ifname, ifalias, master].join(" ")).sort(),
    addresses: (await lines("ip", "-o", "address", "show"))
      .map((line) => line.replace(/^\d+:| valid_lft.*/g, "").trim())
      .sort(),
    // The kernel itself added these routes meanwhile.
    routes: (await lines("ip", "-4", "route", "show", "table", "all")).concat(
      (await lines("ip", "-6", "route", "show", "table", "all")).filter((line) => !/anycast|expires/.test(line)),
    ),
    rules: await lines("ip", "rule"),
    // Counters increase.
    ruleset: (await inside.succeed("nft", ["-s", "list", "ruleset"])).replace(
      /counter packets \d+ bytes \d+/g,
      "counter",
    ),
    confDir: readdirSync(confDir).sort(),
    bin: await lines("find", bin(machine), "-type", "f", "-exec", "sha256sum", "{}", "+"),
    runDir: await inside
      .run("ls", ["-A", machine.runDir])
      .then(({ stdout, status }) => (status === 0 ? stdout : "none")),
    index: await inside.run("ls", ["-A", "/var/lib/cni/networks/.weft"]).then(({ status }) => status !== 0),
  };
}

describe.concurrent.each<[Mode, Families]>([
  ["vxlan", "dual"],
  ["host-gw", "ipv4"],
])("%s, %s", (mode, families) => {
  inOrder();
  const cleanup = new Cleanup();
  let cluster: Cluster;
  let node: Node;
  let before: unknown;

  const weft = (...words: string[]) =>
    node.inside.run(`${OURS}/weft`, [
      ...["cleanup", "--run-dir", node.runDir, "--cni-conf-dir", node.confDir, "--bin-dir", bin(node)],
      ...words,
    ]);

  beforeAll(async () => {
    cluster = await Cluster.start(mode, cleanup, { families });
    node = await cluster.addNode(1, async (machine) => {
      await furnish(machine);
      before = { ...((await dump(machine)) as object), runDir: "none" };
      await machine.inside.succeed(`${OURS}/weft`, ["install", bin(machine)]);
    });
    await cluster.addNode(2);
    await cluster.addPod(node, "one");
    await cluster.addPod(node, "two");
  });
  afterAll(() => cleanup.run());

  test("cleanup changes nothing while weftd runs or pods depend on weft", async () => {
    const whole = await dump(node);
    const alive = await weft("--pods");
    expect(alive).toMatchObject({
      status: 3,
      stdout: "",
      stderr: expect.stringContaining("cleanup: weftd is running"),
    });
    await node.weftd.stop("SIGTERM");
    const withPods = await weft();
    expect(withPods).toMatchObject({
      status: 3,
      stderr: expect.stringMatching(/2 pods use weft \(veth\w+, veth\w+\)\n/),
    });
    expect(withPods.stderr).toContain("Nothing was changed. Drain the node first");
    const dry = await weft("--pods", "--dry-run");
    expect(dry.status).toBe(0);
    for (const command of [
      `mv ${node.confDir}/05-weft.conflist ${node.confDir}/.05-weft.conflist.removed`,
      "nft delete table inet weft",
      "ip route del 10.244.2.0/24 via",
      "ip link del cni0",
      `mv ${bin(node)}/.weft-replaced/bridge ${bin(node)}/bridge`,
      ...(mode === "vxlan" ? ["ip link del flannel.1", "ip link del flannel-v6.1"] : []),
    ]) {
      expect(dry.stdout).toContain(`\n  ${command}`);
    }
    expect(dry.stdout).toMatch(/\n {2}nft delete rule ip filter CNI-FORWARD handle \d+/);
    expect(dry.stdout).toMatch(/\n {2}nft delete rule inet stranger forward handle \d+/);
    expect(dry.stdout).toMatch(/\nLeft in place:\n(?: {2}.*\n)* {2}kernel settings .*net\.ipv4\.ip_forward=1/);
    const sockless = (seen: unknown) => JSON.parse(JSON.stringify(seen).replace(/(weftd|policy)\.sock\\n/g, ""));
    expect(sockless(await dump(node))).toEqual(sockless(whole));
  });

  test("cleanup restores the state that the node had before weft", async () => {
    await shell(node, "nft add table inet weft-policy; nft add table inet weft-policy-cut");
    const { status, stdout, stderr } = await weft("--pods", "-o", "json");
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(JSON.parse(stdout)).toMatchObject({ changed: true, failures: [], weftdLives: false });
    expect(await dump(node)).toEqual(before);
    const again = await weft();
    expect(again.status).toBe(0);
    expect(again.stdout).toMatch(
      /^Found no objects of weft on this node\.\nLeft in place:\n {2}[24] reserved addresses in .*\n {2}kernel settings/,
    );
  });

  test("weft can be installed again on the same node", async () => {
    await node.inside.succeed(`${OURS}/weft`, ["install", bin(node)]);
    cluster.restartWeftd(node);
    await cluster.ready(node);
    const pod = await cluster.addPod(node, "three");
    const [other] = cluster.nodes.filter((each) => each !== node);
    const far = await cluster.addPod(other as Node, "far");
    expect(await pod.inside.pings(far.address)).toBe(true);
  });
});

test("a second cleanup finishes a partly failed one, at the paths that the conflist names", async () => {
  const cleanup = new Cleanup();
  const cluster = await Cluster.start("host-gw", cleanup);
  try {
    const machine = await cluster.addMachine(1);
    const [runDir, dataDir, outside] = ["elsewhere", "data", "outside"].map((name) => `${machine.stateDir}/${name}`);
    mkdirSync(`${runDir}/stamp.json`, { recursive: true });
    mkdirSync(`${dataDir}/.weft/cbr0`, { recursive: true });
    mkdirSync(`${outside}`);
    writeFileSync(`${outside}/file`, "a stranger's");
    symlinkSync(`${outside}`, `${dataDir}/.weft/cbr0/link`);
    const plugins = [
      { type: "bridge", bridge: "br-own", ipam: { type: "host-local", dataDir } },
      { type: "vxlan", runDir },
    ];
    writeFileSync(`${machine.confDir}/05-weft.conflist`, JSON.stringify({ name: "cbr0", plugins }));
    await shell(
      machine,
      `ip link add br-own up type bridge
      ip link add flannel.1 type vxlan id 1 dstport 8472 dev eth0
      ip link set flannel.1 up alias weft:vtep
      ip route add 10.244.7.0/24 dev flannel.1`,
    );
    const words = ["cleanup", "--run-dir", machine.runDir, "--cni-conf-dir", machine.confDir];
    const weft = () => machine.inside.run(`${OURS}/weft`, words);

    const weftd = createServer().listen(`${runDir}/weftd.sock`);
    await once(weftd, "listening");
    expect(await weft()).toMatchObject({ status: 3, stderr: expect.stringContaining(`its socket is in ${runDir}`) });
    expect(readdirSync(machine.confDir)).toEqual(["05-weft.conflist"]);
    weftd.close();

    const first = await weft();
    expect(first).toMatchObject({ status: 1, stdout: expect.stringMatching(/\nFailed:\n.*stamp\.json/) });
    expect(readdirSync(machine.confDir)).toEqual([".05-weft.conflist.removed"]);
    await shell(machine, "ip link add br-own up type bridge");
    rmdirSync(`${runDir}/stamp.json`);
    const second = await weft();
    expect(second).toMatchObject({ status: 0, stdout: expect.stringContaining("\n  ip link del br-own\n") });
    expect(second.stdout).toContain("vxlan flannel.1: another program's routes use it, such as 10.244.7.0/24");
    expect(readdirSync(machine.confDir)).toEqual([]);
    expect(readdirSync(machine.stateDir)).not.toContain("elsewhere");
    expect(readdirSync(`${dataDir}`)).toEqual([]);
    expect(readdirSync(`${outside}`)).toEqual(["file"]);
    const links = await machine.inside.succeed("ip", ["-br", "link"]);
    expect(links).toContain("flannel.1");
    expect(links).not.toContain("br-own");
    expect((await weft()).stdout).toMatch(/^Found no objects of weft/);
  } finally {
    await cleanup.run();
  }
});

test("--restore restores what weftd disabled, and removes its rules in iptables-legacy", async () => {
  const cleanup = new Cleanup();
  const cluster = await Cluster.start("host-gw", cleanup);
  try {
    const machine = await cluster.addMachine(1);
    mkdirSync(machine.runDir, { recursive: true });
    for (const name of [
      "05-weft.conflist",
      "10-flannel.conflist.weft-disabled",
      "20-b.conf.weft-disabled",
      "20-b.conf",
    ])
      writeFileSync(`${machine.confDir}/${name}`, name);
    writeFileSync(`${machine.runDir}/notes.txt`, "an operator's");
    const own = '-s 10.244.0.0/16 -m comment --comment "weft: pods" -j ACCEPT';
    await shell(machine, `iptables-legacy -A FORWARD ${own}; iptables-legacy -A FORWARD -s 10.9.0.0/16 -j ACCEPT`);
    const words = ["cleanup", "--run-dir", machine.runDir, "--cni-conf-dir", machine.confDir];
    const weft = (...more: string[]) => machine.inside.succeed(`${OURS}/weft`, [...words, ...more]);
    expect(await weft("--dry-run")).toContain(
      "10-flannel.conflist.weft-disabled: weftd disabled it; --restore restores it",
    );
    const said = await weft("--restore");
    expect(said).toContain("20-b.conf.weft-disabled: 20-b.conf exists again");
    expect(said).toContain("notes.txt: not a file of weft");
    expect(readdirSync(machine.confDir).sort()).toEqual([
      "10-flannel.conflist",
      "20-b.conf",
      "20-b.conf.weft-disabled",
    ]);
    expect(readdirSync(machine.runDir)).toEqual(["notes.txt"]);
    const legacy = await machine.inside.succeed("iptables-legacy", ["-S", "FORWARD"]);
    expect(legacy).toBe("-P FORWARD ACCEPT\n-A FORWARD -s 10.9.0.0/16 -j ACCEPT\n");
  } finally {
    await cleanup.run();
  }
});
