/**
 * podman 4, the last version with CNI, calls weft's executables: networks that it writes itself, ports, requested
 * addresses.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import { succeed } from "../live/harness/command.ts";
import { makeNamespace, type Namespace } from "../live/harness/namespace.ts";
import { eventually } from "../live/harness/process.ts";
import { traces } from "./leftovers.ts";
import { ask, Machine, RUNTIMES, SERVE, WELCOME } from "./machine.ts";

/** For a machine without cgroup v2, and without the right to raise limits. */
const SETTINGS = `[network]
network_backend = "cni"
cni_plugin_dirs = ["/opt/cni/bin"]
network_config_dir = "/etc/cni/net.d"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1000:1000"]
log_driver = "k8s-file"
`;
const STORAGE = `[storage]
driver = "vfs"
runroot = "/run/containers/storage"
graphroot = "/var/lib/containers/storage"
`;
/** The node, as the outside network sees it. */
const NODE = "198.51.100.1";

let machine: Machine;
let outside: Namespace;
beforeAll(async () => {
  machine = await Machine.make("podman");
  outside = await makeNamespace("podman-outside", machine.cleanup);
  await machine.write("/etc/containers/containers.conf", SETTINGS);
  await machine.write("/etc/containers/storage.conf", STORAGE);
  const node = ["-n", machine.network.name];
  const far = ["-n", outside.name];
  await succeed("ip", [...node, "link", "add", "up0", "type", "veth", "peer", "name", "up0", "netns", outside.name]);
  await succeed("ip", [...node, "address", "add", `${NODE}/24`, "dev", "up0"]);
  await succeed("ip", [...node, "link", "set", "up0", "up"]);
  await succeed("ip", [...far, "address", "add", "198.51.100.2/24", "dev", "up0"]);
  await succeed("ip", [...far, "link", "set", "up0", "up"]);
  await podman("network", "create", "--ipv6", "--subnet", "10.89.0.0/24", "--subnet", "fd00:89::/64", "demo");
});
afterAll(() => machine.close());

const podman = (...args: string[]) => machine.succeed("podman", args);

const start = (name: string, options: readonly string[], ...command: string[]) =>
  podman(
    "run",
    "-d",
    "--cap-add",
    "NET_RAW",
    "--cgroup-parent",
    machine.cgroup,
    "--name",
    name,
    ...options,
    "--rootfs",
    "/rootfs",
    ...command,
  );

const inside = (name: string, ...command: string[]) => podman("exec", name, ...command);

async function addressesOf(name: string, ifName = "eth0"): Promise<readonly string[]> {
  const text = await inside(name, "/bin/ip", "-o", "address", "show", "dev", ifName, "scope", "global");
  return [...text.matchAll(/inet6? ([^/ ]+)\//g)].map(([, address = ""]) => address);
}

async function fromNode(address: string, port: number): Promise<string> {
  const [file = "", ...args] = ask(address, port);
  return machine.succeed(file, args);
}

/** From outside the uplink. */
const fromOutside = (port: number) =>
  succeed("nsenter", [`--net=${outside.path}`, "chroot", RUNTIMES, ...ask(NODE, port)]);

test("containers reach each other, ports answer, and nothing is left when they are removed", async () => {
  await start("web", ["--network", "demo", "-p", "8080:80", "-p", "127.0.0.1:8081:80"], ...SERVE);
  await start("peer", ["--network", "demo"], "/bin/sleep", "600");
  const [web, peer] = [await addressesOf("web"), await addressesOf("peer")];
  expect([web, peer].map((addresses) => addresses.length)).toEqual([2, 2]);
  for (const address of web) {
    await inside("peer", "/bin/ping", "-c", "1", "-W", "2", address);
    expect(await inside("peer", ...ask(address, 80))).toMatch(WELCOME);
    expect(await fromNode(address, 80)).toMatch(WELCOME);
  }
  for (const [address, port] of [
    ["127.0.0.1", 8080],
    ["127.0.0.1", 8081],
    [NODE, 8080],
  ] as const)
    expect(await fromNode(address, port)).toMatch(WELCOME);
  expect(await fromOutside(8080)).toMatch(WELCOME);
  await expect(fromOutside(8081)).rejects.toThrow(/exit status 1/);
  for (const name of ["web", "peer"]) expect(await inside(name, ...ask(NODE, 8080))).toMatch(WELCOME);

  const { marks, reservations } = await traces(machine);
  expect(new Set(marks.map((mark) => mark.replace(/\/.*\//, "/id/")))).toEqual(new Set(["cni:demo/id/eth0"]));
  expect(new Set(reservations)).toEqual(new Set([...web, ...peer]));
  await podman("rm", "--force", "--time", "0", "web", "peer");
  expect(await traces(machine)).toEqual({
    ...{ links: ["cni-podman1", "lo", "up0"], marks: [], reservations: [], results: [] },
  });
  await expect(fromOutside(8080)).rejects.toThrow(/exit status 1/);
});

test("addresses and hardware addresses can be requested, and a second network can be added and removed", async () => {
  await podman("network", "create", "--subnet", "10.90.0.0/24", "second");
  const options = ["--network", "demo", "--ip", "10.89.0.77", "--mac-address", "02:00:5e:00:53:01"];
  await start("wanted", options, "/bin/sleep", "600");
  expect(await addressesOf("wanted")).toContain("10.89.0.77");
  expect(await inside("wanted", "/bin/ip", "link", "show", "eth0")).toMatch(/02:00:5e:00:53:01/);

  await podman("network", "connect", "second", "wanted");
  expect(await addressesOf("wanted", "eth1")).toEqual(["10.90.0.2"]);
  await podman("network", "disconnect", "second", "wanted");
  await expect(addressesOf("wanted", "eth1")).rejects.toThrow(/can't find device 'eth1'/);
  expect((await traces(machine)).reservations.toSorted()).toEqual((await addressesOf("wanted")).toSorted());

  const { status, stderr } = await machine.run("podman", [
    ...["run", "--rm", "--cgroup-parent", machine.cgroup, "--network", "demo", "--ip", "10.89.0.77"],
    ...["--rootfs", "/rootfs", "/bin/sleep", "600"],
  ]);
  expect([status, stderr]).toEqual([
    126,
    expect.stringMatching(/plugin type="bridge" failed \(add\): .*10\.89\.0\.77/),
  ]);
  await podman("rm", "--force", "--time", "0", "wanted");
  await podman("network", "rm", "second");
  expect(await traces(machine)).toEqual({
    ...{ links: ["cni-podman1", "lo", "up0"], marks: [], reservations: [], results: [] },
  });
});

test("a restarted container, and one whose rules were flushed, answer again", async () => {
  await start("web", ["--network", "demo", "-p", "8080:80"], ...SERVE);
  await podman("restart", "--time", "0", "web");
  expect(await fromOutside(8080)).toMatch(WELCOME);
  const flush = () => succeed("nsenter", [`--net=${machine.network.path}`, "nft", "flush", "ruleset"]);
  await flush();
  // conmon holds the port, but does not answer on it.
  await expect(fromOutside(8080)).rejects.toThrow(/exit status 143/);
  await machine.succeed("/opt/cni/bin/weft", ["restore"]);
  expect(await eventually(() => fromOutside(8080))).toMatch(WELCOME);
  const { stdout } = await machine.run("/opt/cni/bin/weft", ["restore", "-o", "json"]);
  expect(JSON.parse(stdout)).toMatchObject({ changed: false, failures: [] });
  await flush();
  await podman("network", "reload", "web");
  expect(await eventually(() => fromOutside(8080))).toMatch(WELCOME);
  await podman("rm", "--force", "--time", "0", "web");
  await podman("network", "rm", "demo");
  expect(await traces(machine)).toEqual({ links: ["lo", "up0"], marks: [], reservations: [], results: [] });
});
