/**
 * A running node changes from flannel to weft and back: pods keep running, nothing is left, and no address is assigned
 * twice.
 */
import { existsSync, readdirSync, renameSync, rmSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Cleanup } from "./harness/cleanup.ts";
import { Cluster, type Families, type Machine, type Mode, type Node } from "./harness/cluster.ts";
import { annotate, FLANNEL_CONFLIST, flannelBin, runFlanneld, shell, waysOf } from "./harness/flannel.ts";
import { inOrder } from "./harness/in-order.ts";
import { Inside } from "./harness/inside.ts";
import { makeNamespace, type Namespace } from "./harness/namespace.ts";
import { OURS } from "./harness/plugin-bed.ts";
import { Runtime } from "./harness/runtime.ts";

const PODS = 50;
const PINGS = 400;
const NONE_LOST = `${PINGS} packets transmitted, ${PINGS} received`;
const DISABLED = `${FLANNEL_CONFLIST}.weft-disabled`;

interface Attached {
  readonly id: string;
  readonly namespace: Namespace;
  /** One of each family. */
  readonly addresses: readonly string[];
}

const pinging = (inside: Inside, address: string) =>
  inside.succeed("ping", ["-qni", "0.01", "-c", `${PINGS}`, "-W", "2", address]);

async function expectToReach(inside: Inside, { addresses }: Attached): Promise<void> {
  for (const address of addresses) expect(await inside.pings(address)).toBe(true);
}

function expectNew({ addresses }: Attached, others: readonly Attached[]): void {
  const taken = others.flatMap((other) => other.addresses);
  for (const address of addresses) expect(taken).not.toContain(address);
}

/** All of the node's ports for pods, and all records that an address is in use. */
const state = (machine: Machine, folder: string) =>
  shell(
    machine,
    `cd /var/lib/cni/${folder} 2>/dev/null && find . -type f ! -name lock ! -name 'last_reserved*' | sort || true`,
  );

describe.concurrent.each<[Mode, Families]>([
  ["vxlan", "ipv4"],
  ["host-gw", "ipv4"],
  ["vxlan", "dual"],
])("%s, %s", (mode, families) => {
  inOrder();
  const cleanup = new Cleanup();
  let cluster: Cluster;
  let node: Node;
  let far: Attached;
  const old: Attached[] = [];

  async function attach(runtime: Runtime, label: string): Promise<Attached> {
    const namespace = await makeNamespace(`taken-${label}`, cleanup);
    const { result } = await runtime.add(label, namespace.path);
    return { id: label, namespace, addresses: result.ips.map(({ address }) => address.replace(/\/.*/, "")) };
  }

  beforeAll(async () => {
    cluster = await Cluster.start(mode, cleanup, { families });
    // Both nodes run flannel; the other one keeps it.
    const flannel = async (machine: Machine, peer: number) => {
      await runFlanneld(cluster, machine, [peer]);
      await annotate(cluster, machine);
      return new Runtime(machine.inside, machine.confDir, flannelBin(machine));
    };
    const other = await cluster.addMachine(2);
    far = await attach(await flannel(other, 1), "far");
    node = await cluster.addNode(1, async (machine) => {
      const runtime = await flannel(machine, 2);
      for (let at = 1; at <= PODS; at++) old.push(await attach(runtime, `old${at}`));
      await startPinging(old[0]);
      await startPinging(old[PODS - 1]);
    });
  });
  afterAll(() => cleanup.run());

  const pings: Promise<string>[] = [];
  /** Pings a pod on the node that keeps flannel every ten milliseconds, from before the take-over until after it. */
  async function startPinging(from: Attached | undefined): Promise<void> {
    if (from === undefined) throw new Error("there is no such pod");
    const inside = await Inside.enter(from.namespace, cleanup);
    await expectToReach(inside, far);
    pings.push(...far.addresses.map((address) => pinging(inside, address)));
  }

  const links = async (kind: string) =>
    (await node.inside.json<{ ifname: string; address: string }[]>("ip", ["-j", "link", "show", "type", kind])).map(
      ({ ifname, address }) => `${ifname} ${address}`,
    );

  describe("from flannel to weft", () => {
    test("running pods lose no packet", async () => {
      for (const output of await Promise.all(pings)) {
        expect(output).toContain(NONE_LOST);
      }
    });

    test("the device keeps its name and the MAC that peers have, and the route becomes weft's", async () => {
      const kept = waysOf(cluster).map(({ device, mac }) => `${device} ${mac(1)}`);
      expect((await links("vxlan")).sort()).toEqual(mode === "vxlan" ? kept.sort() : []);
      const routes = waysOf(cluster).map(({ subnet, vtep, host }) => [subnet(2), mode === "vxlan" ? vtep(2) : host(2)]);
      expect(Object.fromEntries(await cluster.peerRoutes(node))).toEqual(Object.fromEntries(routes));
    });

    test("weft status counts the pods that flannel's plugins attached", async () => {
      const folders = ["--run-dir", node.runDir, "--cni-conf-dir", node.confDir];
      const { stdout } = await node.inside.run(`${OURS}/weft`, ["status", "--quiet", "-o", "json", ...folders]);
      expect(JSON.parse(stdout).node.pods).toMatchObject({
        count: PODS,
        bridge: "cni0",
        onBridge: PODS,
        byOthers: PODS,
      });
    });

    test("flannel's rules and conflist are removed, its network's name and bridge stay", async () => {
      const look = "nft list ruleset; iptables-legacy-save -t nat; iptables-legacy-save -t filter";
      expect(await shell(node, look)).not.toMatch(/flannel/i);
      expect(readdirSync(node.confDir).sort()).toEqual(["05-weft.conflist", DISABLED]);
      expect(JSON.parse(cluster.conflistText(node))).toMatchObject({
        name: "cbr0",
        plugins: [
          { type: "bridge", mtu: mode === "host-gw" ? 1500 : families === "dual" ? 1430 : 1450 },
          { type: "portmap" },
          { type: "bandwidth" },
          { type: mode },
        ],
      });
    });

    test("a new pod gets an unused address, and reaches the other pods", async () => {
      const added = await attach(node.runtime, "new");
      expectNew(added, old);
      const inside = await Inside.enter(added.namespace, cleanup);
      await expectToReach(inside, far);
      await expectToReach(inside, old[1] as Attached);
      await node.runtime.del("new", added.namespace.path);
    });

    test("deleting the old pods frees everything that flannel kept for them", async () => {
      expect((await state(node, "flannel")).split("\n")).toHaveLength(PODS + 1);
      for (const { id, namespace } of old.splice(0, PODS - 2)) await node.runtime.forget(id, namespace.path);
      expect((await state(node, "networks/cbr0")).split("\n")).toHaveLength(2 * waysOf(cluster).length + 1);
      expect((await state(node, "flannel")).split("\n")).toHaveLength(3);
      expect(await links("veth")).toHaveLength(2 + 1);
    });
  });

  describe("and back", () => {
    let added: Attached;
    test("pods that weft attached keep running when flannel is started again", async () => {
      added = await attach(node.runtime, "wefts");
      const inside = await Inside.enter(added.namespace, cleanup);
      const outputs = Promise.all(far.addresses.map((address) => pinging(inside, address)));
      await node.weftd.stop("SIGTERM");
      rmSync(`${node.confDir}/05-weft.conflist`);
      renameSync(`${node.confDir}/${DISABLED}`, `${node.confDir}/${FLANNEL_CONFLIST}`);
      await runFlanneld(cluster, node, [2]);
      for (const output of await outputs) expect(output).toContain(NONE_LOST);
    });

    test("new pods get unused addresses, and deleting all pods leaves nothing", async () => {
      const runtime = new Runtime(node.inside, node.confDir, `${node.stateDir}/bin`);
      rmSync(`${node.stateDir}/bin`, { recursive: true });
      flannelBin(node);
      const again = await attach(runtime, "again");
      expectNew(again, [...old, added]);
      const inside = await Inside.enter(again.namespace, cleanup);
      await expectToReach(inside, far);
      await runtime.del(again.id, again.namespace.path);
      for (const { id, namespace } of [...old, added]) await runtime.forget(id, namespace.path);
      expect(await state(node, "networks/cbr0")).toBe("");
      expect(await state(node, "flannel")).toBe("");
      expect(await links("veth")).toHaveLength(1);
      expect(existsSync(`${node.confDir}/05-weft.conflist`)).toBe(false);
    });

    test("weft cleanup removes nothing that flannel uses", async () => {
      const [devices, bridges] = [await links("vxlan"), await links("bridge")];
      const words = ["cleanup", "--run-dir", node.runDir, "--cni-conf-dir", node.confDir];
      const said = await node.inside.succeed(`${OURS}/weft`, words);
      for (const { device } of mode === "vxlan" ? waysOf(cluster) : [])
        expect(said).toContain(`vxlan ${device}: another program's routes use it`);
      expect(await links("vxlan")).toEqual(devices);
      expect(await links("bridge")).toEqual(bridges);
      expect(existsSync(node.runDir)).toBe(false);
      const after = await attach(new Runtime(node.inside, node.confDir, `${node.stateDir}/bin`), "after");
      await expectToReach(await Inside.enter(after.namespace, cleanup), far);
    });
  });
});
