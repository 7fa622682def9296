/** containerd 1.6 calls weft's executables: `ctr run --cni`, as an operator would by hand. */
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Outcome } from "../live/harness/command.ts";
import { eventually } from "../live/harness/process.ts";
import { traces } from "./leftovers.ts";
import { ask, Machine, SERVE, WELCOME } from "./machine.ts";

const NETWORK = {
  cniVersion: "1.0.0",
  name: "net",
  plugins: [
    {
      ...{ type: "bridge", bridge: "cni0", isGateway: true, ipMasq: true, hairpinMode: true },
      ipam: {
        type: "host-local",
        ranges: [[{ subnet: "10.22.0.0/24" }], [{ subnet: "fd00:22::/64" }]],
        routes: [{ dst: "0.0.0.0/0" }, { dst: "::/0" }],
      },
    },
    { type: "portmap", capabilities: { portMappings: true } },
    { type: "firewall", ingressPolicy: "same-bridge" },
    { type: "bandwidth", ingressRate: 100_000_000, ingressBurst: 10_000_000, egressRate: 0, egressBurst: 0 },
    { type: "tuning", sysctl: { "net.ipv4.conf.IFNAME.arp_filter": "1" } },
  ],
};

const SETTINGS = `version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "/run/containerd/containerd.sock"
`;

let machine: Machine;
beforeAll(async () => {
  machine = await Machine.make("containerd");
  await machine.write("/etc/containerd/config.toml", SETTINGS);
  await machine.shell("containerd >/var/log.containerd 2>&1 &");
  await eventually(() => ctr("version"));
});
afterAll(() => machine.close());

/** containerd's namespaces are also the names of cgroups. */
const ctr = (...args: string[]) => machine.succeed("ctr", ["--namespace", machine.cgroup, ...args]);

/** `ctr` removes the network of a foreground container when it ends. */
function start(id: string, ...command: string[]): Promise<Outcome> {
  return machine.run("ctr", ["-n", machine.cgroup, "run", "--rm", "--cni", "--rootfs", "/rootfs", id, ...command]);
}

/** The containers whose processes run. */
async function running(): Promise<readonly string[]> {
  const lines = (await ctr("tasks", "list")).split("\n").map((line) => line.trim().split(/\s+/));
  return lines.flatMap(([id = "", , status]) => (status === "RUNNING" ? [id] : [])).sort();
}

let executions = 0;
const inside = (id: string, ...command: string[]) =>
  ctr("tasks", "exec", "--exec-id", `exec${++executions}`, id, ...command);

async function addressesOf(id: string): Promise<readonly string[]> {
  const text = await inside(id, "/bin/ip", "-o", "address", "show", "dev", "eth0", "scope", "global");
  return [...text.matchAll(/inet6? ([^/ ]+)\//g)].map(([, address = ""]) => address);
}

test("two containers reach each other and the node; nothing is left when they have ended", async () => {
  await machine.write("/etc/cni/net.d/10-net.conflist", NETWORK);
  const ended = [start("web", ...SERVE), start("peer", "/bin/sleep", "600")];
  const attached = eventually(async () => {
    const both = await Promise.all([addressesOf("web"), addressesOf("peer")]);
    for (const addresses of both) expect(addresses).toHaveLength(2);
    return both;
  });
  const early = Promise.race(ended).then(({ stderr }) => Promise.reject(new Error(`a container has ended: ${stderr}`)));
  const [web = [], peer = []] = await Promise.race([attached, early]);
  // The addresses are visible before ADD has ended. containerd starts a container's process after it.
  await Promise.race([eventually(async () => expect(await running()).toEqual(["peer", "web"])), early]);
  expect(new Set([...web, ...peer]).size).toBe(4);
  for (const address of web) {
    await inside("peer", "/bin/ping", "-c", "1", "-W", "2", address);
    // The server needs some time from its start until it listens.
    await eventually(async () => expect(await inside("peer", ...ask(address, 80))).toMatch(WELCOME));
    const [file = "", ...args] = ask(address, 80);
    expect(await machine.succeed(file, args)).toMatch(WELCOME);
  }
  const { marks, reservations } = await traces(machine);
  for (const id of ["web", "peer"]) expect(marks).toContain(`cni:net/${machine.cgroup}-${id}/eth0`);
  expect(reservations).toEqual(expect.arrayContaining([...web, ...peer]));

  await ctr("tasks", "kill", "--signal", "SIGKILL", "web");
  await ctr("tasks", "kill", "--signal", "SIGKILL", "peer");
  for (const { status, stderr } of await Promise.all(ended)) expect([status, stderr]).toEqual([137, ""]);
  expect(await traces(machine)).toEqual({ links: ["cni0", "lo"], marks: [], reservations: [], results: [] });
});

test("a plugin's error reaches the operator, and nothing is left", async () => {
  const [bridge, ...rest] = NETWORK.plugins;
  await machine.write("/etc/cni/net.d/10-net.conflist", {
    ...NETWORK,
    plugins: [bridge, ...rest.slice(0, -1), { type: "tuning", sysctl: { "net.ipv4.conf.IFNAME.no_such": "1" } }],
  });
  const { status, stderr } = await start("refused", "/bin/sleep", "600");
  expect(status).toBe(1);
  expect(stderr).toMatch(/plugin type="tuning" failed \(add\): .*no_such/);
  expect(await traces(machine)).toEqual({ links: ["cni0", "lo"], marks: [], reservations: [], results: [] });
});
