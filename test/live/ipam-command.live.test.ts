/** `weft ipam` on a node with running pods, deleted pods, and a runtime that remembers some of them. */
import { mkdirSync, writeFileSync } from "node:fs";
import { afterEach, beforeEach, expect, test } from "vitest";
import { run } from "./harness/command.ts";
import type { Namespace } from "./harness/namespace.ts";
import { removeNamespace } from "./harness/namespace.ts";
import { OURS, PluginBed, REFERENCE } from "./harness/plugin-bed.ts";
import { eventually } from "./harness/process.ts";

const IPAM = {
  type: "host-local",
  ranges: [[{ subnet: "10.229.0.0/24" }], [{ subnet: "fd00:229::/64" }]],
};
const BRIDGE = { cniVersion: "1.1.0", name: "net", type: "bridge", bridge: "br0", isGateway: true, ipam: IPAM };
const PTP = {
  ...{ cniVersion: "1.1.0", name: "other", type: "ptp" },
  ipam: { type: "host-local", ranges: [[{ subnet: "10.228.0.0/28" }]] },
};

let bed: PluginBed;
beforeEach(async () => {
  bed = await PluginBed.make();
});
afterEach(() => bed.close());

interface Listed {
  readonly networks: readonly {
    readonly name: string;
    readonly ranges: readonly { readonly subnet: string; readonly used: number; readonly capacity: number }[];
    readonly reservations: readonly {
      readonly address: string;
      readonly containerId: string;
      readonly state: string;
    }[];
  }[];
}

async function weft(...words: string[]) {
  const { status, stdout, stderr } = await bed.node.run(`${OURS}/weft`, words);
  return { status, stdout, stderr };
}

async function list(): Promise<Listed> {
  const { status, stdout, stderr } = await weft("ipam", "ls", "--cni-conf-dir", `${bed.stateDir}/net.d`, "-o", "json");
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  return JSON.parse(stdout) as Listed;
}

/** "net ipam1 used", once for each state of a container's addresses. */
async function states(): Promise<string[]> {
  const { networks } = await list();
  const all = networks.flatMap(({ name, reservations }) =>
    reservations.map(({ containerId, state }) => `${name} ${containerId || "nobody"} ${state}`),
  );
  return [...new Set(all)].sort();
}

async function attach(bin: string, conf: { type: string }, containerId: string, netns: Namespace): Promise<void> {
  const { status, output } = await bed.call(bin, conf.type, "ADD", conf, { containerId, netns: netns.path });
  expect(output).toContain("ips");
  expect(status).toBe(0);
}

/** The kernel removes a namespace's links some time after its name. */
async function remove(...pods: readonly Namespace[]): Promise<void> {
  const veths = async () => (await bed.node.json<unknown[]>("ip", ["-j", "link", "show", "type", "veth"])).length;
  const left = (await veths()) - pods.length;
  for (const { name } of pods) await removeNamespace(name);
  await eventually(async () => {
    if ((await veths()) > left) throw new Error(`more than ${left} pods' links are left`);
  });
}

const state = (path: string) => `${bed.stateDir}/${path}`;

test("finds and frees unused addresses, and nothing else", async () => {
  const pods = await bed.emptyPods(6);
  const [alive, gone, remembered, forgotten, reference, referenceGone] = pods as [Namespace, ...Namespace[]];
  await attach(OURS, BRIDGE, "alive", alive);
  for (const [containerId, netns] of [
    ["gone", gone],
    ["remembered", remembered],
    ["forgotten", forgotten],
  ] as const) {
    await attach(OURS, BRIDGE, containerId, netns as Namespace);
  }
  await attach(REFERENCE, PTP, "reference", reference as Namespace);
  await attach(REFERENCE, PTP, "reference-gone", referenceGone as Namespace);
  await remove(...([gone, remembered, forgotten, referenceGone] as Namespace[]));
  mkdirSync(state("results"));
  const result = (container: string, netns: string) =>
    writeFileSync(
      state(`results/net-${container}-eth0`),
      JSON.stringify({ kind: "cniCacheV1", containerId: container, netns }),
    );
  result("remembered", alive.path);
  result("forgotten", "/run/netns/weft-nobody");
  writeFileSync(state("networks/net/10.229.0.77"), "");
  writeFileSync(state("networks/net/10.229.0.78"), "old-form");
  mkdirSync(state("net.d"));
  writeFileSync(
    state("net.d/10-net.conflist"),
    JSON.stringify({ cniVersion: "1.1.0", name: "net", plugins: [BRIDGE] }),
  );

  expect(await states()).toEqual([
    "net alive used",
    "net forgotten young",
    "net gone young",
    "net nobody manual",
    "net old-form manual",
    "net remembered remembered",
    "other reference used",
    "other reference-gone young",
  ]);
  const [net] = (await list()).networks;
  expect(net?.ranges).toEqual([
    { subnet: "10.229.0.0/24", start: "10.229.0.1", end: "10.229.0.254", used: 6, capacity: 253 },
    expect.objectContaining({ subnet: "fd00:229::/64", used: 4 }),
  ]);

  const before = await bed.reservations();
  expect((await weft("ipam", "gc", "--yes")).stdout).toMatch(
    /^No address is leaked in \/var\/lib\/cni\/networks: 12 reserved/,
  );
  const dry = await weft("ipam", "gc", "--grace-seconds", "0");
  expect(dry.stdout).not.toMatch(/10\.229\.0\.7[78]/);
  expect(dry.stdout).toMatch(
    /net +\S+ +forgotten +would be freed .*results\/net-forgotten-eth0 names \/run\/netns\/weft-nobody, which is gone/,
  );
  expect(dry.stdout).toMatch(/Nothing was changed. Use --yes to free these addresses\.\n$/);
  expect(await bed.reservations()).toBe(before);

  const { status, stdout } = await weft("ipam", "gc", "--yes", "--grace-seconds", "0", "-o", "json");
  expect(status).toBe(0);
  const { addresses, kept, changed } = JSON.parse(stdout) as {
    addresses: { containerId: string; done: string }[];
    kept: number;
    changed: boolean;
  };
  expect({ kept, changed }).toEqual({ kept: 7, changed: true });
  expect(addresses.map(({ containerId, done }) => `${containerId} ${done}`).sort()).toEqual(
    ["forgotten ", "forgotten ", "gone ", "gone ", "reference-gone "].map((who) => `${who.trimEnd()} freed`),
  );
  expect(await states()).toEqual([
    ...["net alive used", "net nobody manual", "net old-form manual"],
    ...["net remembered remembered", "other reference used"],
  ]);
  // A late DEL finds nothing to do, and a new pod gets the freed address.
  expect((await bed.call(OURS, "bridge", "DEL", BRIDGE, { containerId: "gone", netns: "" })).status).toBe(0);
  await attach(OURS, BRIDGE, "new", bed.podNamespace);
  expect(await states()).toContain("net new used");
});

test("a network namespace without a name keeps its address while a process holds it", async () => {
  const [pod] = (await bed.emptyPods(1)) as [Namespace];
  await attach(OURS, BRIDGE, "held", pod);
  const isInside = `until ip netns pids ${pod.name} | grep -q .; do sleep 0.05; done`;
  const script = `exec nsenter --net=${pod.path} sleep 60`;
  await bed.node.succeed("sh", ["-c", `(${script}) >/dev/null 2>&1 & echo $! > ${state("pid")}; ${isInside}`]);
  await bed.node.succeed("ip", ["netns", "del", pod.name]);
  const { stdout } = await weft("ipam", "ls");
  expect(stdout).toMatch(/held +eth0 +\d+s +used +eth0 in \/proc\/\d+\/ns\/net/);
  await bed.node.succeed("sh", ["-c", `kill $(cat ${state("pid")})`]);
});

/** Runs a script as in a debugging pod: the container's own files at its root, and the node's below /host. */
function asDebuggingPod(script: string): string {
  const root = state("debug");
  const links = ["ln -s host/usr usr", ...["bin", "lib", "lib64"].map((name) => `ln -s usr/${name} ${name}`)];
  return [
    `mkdir -p ${root} && mount -t tmpfs none ${root} && cd ${root} && mkdir host && mount --rbind / host`,
    `mount -t proc proc host/proc && ${links.join(" && ")} && exec chroot . /bin/sh -c '${script}'`,
  ].join(" && ");
}

test("in a chroot of another container, sees running pods, and pods that the runtime remembers", async () => {
  const [alive, guest] = (await bed.emptyPods(2)) as [Namespace, Namespace];
  await attach(REFERENCE, PTP, "alive", alive);
  // A guest's address is on no interface, and its namespace has a name only on the node.
  writeFileSync(state("networks/other/10.228.0.9"), "guest\r\neth0");
  mkdirSync(state("results"));
  writeFileSync(state("results/other-guest-eth0"), JSON.stringify({ netns: `/var${guest.path}` }));
  const gc = (cover: string) =>
    bed.node.run("unshare", [
      ...["--mount", "sh", "-c"],
      asDebuggingPod(`chroot /host sh -c "${cover}${OURS}/weft ipam gc --yes --grace-seconds 0"; exit $?`),
    ]);
  for (const cover of ["", "mount -t tmpfs none /run && "]) {
    const { stdout, stderr } = await gc(cover);
    expect({ stdout, stderr }).toEqual({
      stdout: expect.stringMatching(/: 2 reserved, read \d+ network namesp/),
      stderr: "",
    });
  }
});

test("frees reservations of an earlier boot, and reports it", async () => {
  const [pod, torn] = (await bed.emptyPods(2)) as [Namespace, Namespace];
  await attach(OURS, PTP, "ipam1", pod);
  await attach(OURS, PTP, "ipam2", torn);
  await remove(pod, torn);
  mkdirSync(state("results"));
  writeFileSync(state("results/other-ipam2-eth0"), JSON.stringify({ netns: "/run" }));
  writeFileSync(state("boot"), "another-boot\n");
  await bed.node.succeed("mount", ["--bind", state("boot"), "/proc/sys/kernel/random/boot_id"]);
  const { stdout } = await weft("ipam", "gc", "--yes", "--grace-seconds", "0", "-o", "json");
  expect(JSON.parse(stdout)).toMatchObject({
    ...{ changed: true, kept: 0 },
    addresses: [
      { containerId: "ipam1", done: "freed" },
      { containerId: "ipam2", done: "freed", reason: "reserved before the last boot" },
    ],
  });
  expect(await states()).toEqual([]);
});

test("uses a link's mark from any namespace", async () => {
  const [pod] = (await bed.emptyPods(1)) as [Namespace];
  await attach(OURS, BRIDGE, "marked", pod);
  // The address is removed; the host's link keeps its mark.
  await bed.node.succeed("ip", ["-n", pod.name, "address", "flush", "dev", "eth0"]);
  const elsewhere = ["--net", `${OURS}/weft`, "ipam", "ls", "--network", "net"];
  expect((await bed.node.run("unshare", elsewhere)).stdout).toMatch(
    /marked +eth0 +\d+s +used +link \S+ in \S+ has its mark/,
  );
});

test("shows invalid reservations without harm", async () => {
  mkdirSync(state("networks/net"), { recursive: true });
  writeFileSync(state("networks/net/10.229.0.5"), "ipam1\u001b[31m\r\neth0");
  await bed.node.succeed("mkfifo", [state("networks/net/10.229.0.6")]);
  expect((await weft("ipam", "ls")).stdout).toMatch(/10\.229\.0\.5 +ipam1\ufffd\[31m +eth0 .*\n.*10\.229\.0\.6 +- +- /);
  expect((await weft("ipam", "gc", "--yes", "--grace-seconds", "0")).stdout).toMatch(/10\.229\.0\.5 +ipam1\S+ +freed/);
  expect(await states()).toEqual(["net nobody manual"]);
});

test.each(["ls", "gc"])("ipam %s reports a missing network or directory", async (subcommand) => {
  const ask = async (...words: string[]) => {
    const { status, stderr } = await weft("ipam", subcommand, ...words);
    return [status, stderr.replace(/^weft ipam (ls|gc): /, "").split("\n")[0]];
  };
  expect(await ask()).toEqual([0, ""]);
  mkdirSync(state("networks/net"), { recursive: true });
  expect(await ask("--network", "net")).toEqual([0, ""]);
  expect(await ask("--network", "nET")).toEqual([2, 'there is no network "nET" in /var/lib/cni/networks']);
  for (const path of ["/var/lib/cni/absent", "/etc/passwd"]) {
    expect(await ask("--data-dir", path)).toEqual([2, `${path} is not a directory`]);
  }
});

test("gc waits for host-local's lock, and ls does not", async () => {
  const [pod] = (await bed.emptyPods(1)) as [Namespace];
  await attach(OURS, BRIDGE, "ipam1", pod);
  await remove(pod);
  const locked = (...words: string[]) =>
    bed.node.run("flock", ["/var/lib/cni/networks/net/lock", "timeout", "2", `${OURS}/weft`, "ipam", ...words]);
  /** The exit statuses of coreutils' and busybox's `timeout`. */
  const TIMED_OUT = [124, 143];
  expect(TIMED_OUT).toContain((await locked("gc", "--yes", "--grace-seconds", "0")).status);
  expect((await locked("ls")).stdout).toMatch(/ipam1 +eth0 +\d+s +young/);
  expect((await weft("ipam", "gc", "--yes", "--grace-seconds", "0")).stdout).toMatch(/ipam1 +freed/);
});

test("if the node is itself a container, its host machine sees all pods", async () => {
  const [alive, gone] = (await bed.emptyPods(2)) as [Namespace, Namespace];
  await attach(OURS, BRIDGE, "alive", alive);
  await attach(OURS, BRIDGE, "gone", gone);
  await remove(gone);
  const pid = (await bed.node.succeed("sh", ["-c", "echo $PPID"])).trim();
  const below = `/proc/${pid}/root/var/lib/cni`;
  const { stdout } = await run(`${OURS}/weft`, [
    ...["ipam", "gc", "--yes", "--grace-seconds", "0", "--network", "net"],
    ...["--data-dir", `${below}/networks`, "--cache-dir", `${below}/results`],
  ]);
  expect(stdout).toMatch(/gone +freed[\s\S]*Kept 2 other reserved addresses/);
  expect(await states()).toEqual(["net alive used"]);
});

test("refuses to decide from an unprivileged container's view", async () => {
  const [pod] = (await bed.emptyPods(1)) as [Namespace];
  await attach(OURS, BRIDGE, "ipam1", pod);
  await remove(pod);
  const inContainer = [
    "--pid",
    "--fork",
    "--mount-proc",
    `${OURS}/weft`,
    "ipam",
    "gc",
    "--yes",
    "--grace-seconds",
    "0",
  ];
  const { status, stderr } = await bed.node.run("unshare", inContainer);
  expect({ status, stderr }).toEqual({
    status: 3,
    stderr: expect.stringContaining(
      "weft ipam gc: some of the node's network namespaces cannot be read from here: weft runs in a container that sees only its own processes\nNothing was changed.",
    ),
  });
  expect(await states()).toEqual(["net ipam1 young"]);
});
