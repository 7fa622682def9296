/**
 * weft status and weft explain compared with pings: what they report of a peer or of a packet's path, before and after
 * damage, with weftd and without.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Cleanup } from "./harness/cleanup.ts";
import { BIN, Cluster, type Families, type Mode, type Node, type Pod } from "./harness/cluster.ts";
import { inOrder } from "./harness/in-order.ts";
import { eventually, PATIENCE } from "./harness/process.ts";

interface Hop {
  readonly at: string;
  readonly state: "goes" | "arrives" | "ends" | "astray" | "note";
  readonly text: string;
  readonly show?: string;
  readonly remedy?: string;
}

interface Status {
  readonly node: { readonly name: string; readonly weftd: { readonly isAlive: boolean; readonly isReady: boolean } };
  readonly peers: readonly {
    readonly name: string;
    readonly ways: readonly string[];
    readonly isProgrammed: boolean;
    readonly isAnswering: boolean | null;
    readonly entries: readonly { readonly kind: string; readonly presence: string }[];
  }[];
}

const DONE = 0;
const FAULTS = 5;

describe.concurrent.each<[Mode, Families]>([
  ["vxlan", "ipv4"],
  ["vxlan", "ipv6"],
  ["host-gw", "ipv4"],
])("%s, %s", (mode, families) => {
  inOrder();
  const cleanup = new Cleanup();
  let cluster: Cluster;
  let node: Node;
  let other: Node;
  let own: Pod;
  let neighbour: Pod;
  let remote: Pod;
  const isTunnel = mode === "vxlan";
  const isIpv4 = families === "ipv4";
  const subnet = isIpv4 ? "10.244.2.0/24" : "fd00:10:244:2::/64";
  const gateway = isIpv4 ? "10.244.2.0" : "fd00:10:244:2::";
  const device = isIpv4 ? "flannel.1" : "flannel-v6.1";
  const nowhere = isIpv4 ? "192.0.2.77" : "2001:db8::77";
  const outside = isIpv4 ? "203.0.113.9" : "2001:db8:1::9";

  beforeAll(async () => {
    cluster = await Cluster.start(mode, cleanup, { families });
    node = await cluster.addNode(1);
    other = await cluster.addNode(2);
    for (const one of [node, other]) await eventually(async () => expect((await cluster.peerRoutes(one)).size).toBe(1));
    own = await cluster.addPod(node, "a");
    neighbour = await cluster.addPod(node, "b");
    remote = await cluster.addPod(other, "c");
    // The route to the outside, and a machine there.
    const via = isIpv4 ? "192.0.2.2" : "2001:db8::2";
    await node.inside.succeed("ip", ["route", "add", "default", "via", via]);
    await other.inside.succeed("ip", ["address", "add", `${outside}/${isIpv4 ? 32 : 128}`, "dev", "lo"]);
  }, 60_000 * PATIENCE);

  afterAll(() => cleanup.run());

  const weft = async (...args: string[]) => {
    const places = ["--run-dir", node.runDir, "--cni-conf-dir", node.confDir];
    const { status, stdout, stderr } = await node.inside.run(`${BIN}/weft`, [...args, "-o", "json", ...places]);
    expect(stderr).toBe("");
    return { status, json: JSON.parse(stdout) };
  };
  const status = async () => {
    const { status: exit, json } = await weft("status");
    return { exit, ...(json as Status) };
  };
  const explain = async (address: string, from?: string, ...more: string[]) => {
    const { status: exit, json } = await weft(
      "explain",
      address,
      ...(from === undefined ? [] : ["--from", from]),
      ...more,
    );
    const { hops } = json as { hops: Hop[] };
    return { exit, hops, last: hops.at(-1) as Hop };
  };
  const shell = (script: string) => node.inside.succeed("sh", ["-ec", script]);
  /** A first packet may be lost during neighbour resolution. */
  const reaches = (address: string) =>
    eventually(async () => expect(await own.inside.pings(address)).toBe(true), 10_000);
  const places = (hops: readonly Hop[]) => hops.map(({ at }) => at);

  test("status shows a peer that is programmed and answers", async () => {
    await eventually(async () => {
      const { exit, node: shown, peers } = await status();
      expect(shown).toMatchObject({ name: "n1", weftd: { isAlive: true, isReady: true } });
      expect(peers).toMatchObject([
        { name: "n2", ways: [isTunnel ? "vxlan" : "route"], isProgrammed: true, isAnswering: true },
      ]);
      expect(peers[0]?.entries.map(({ kind }) => kind)).toEqual(isTunnel ? ["route", "neighbour", "fdb"] : ["route"]);
      expect(exit).toBe(DONE);
    });
    const { stdout } = await node.inside.run(`${BIN}/weft`, [
      "status",
      "--run-dir",
      node.runDir,
      "--cni-conf-dir",
      node.confDir,
    ]);
    expect(stdout).toMatch(/^NODE +n1\n/);
    expect(stdout).toMatch(/n2 .* all +\d+\.\d ms\n/);
  });

  test("explain follows a packet from port to port to a pod on the same node", async () => {
    const { exit, hops, last } = await explain(neighbour.address, own.address);
    expect({ exit, at: places(hops) }).toEqual({ exit: DONE, at: ["address", "from", "bridge", "neighbour", "pod"] });
    expect(last.text).toContain(`container ${neighbour.name}`);
    expect(last.text).toContain("/run/netns/");
    await reaches(neighbour.address);
  });

  test("explain follows packets from a pod and from the node to a pod on another node, and each hop's command shows it", async () => {
    for (const from of [own.address, undefined]) {
      const { exit, hops, last } = await explain(remote.address, from);
      const ways = isTunnel ? ["device", "neighbour", "fdb", "underlay", "leaves"] : ["device", "neighbour", "leaves"];
      expect({ exit, at: places(hops) }).toEqual({ exit: DONE, at: ["address", "from", "route", ...ways] });
      expect(last).toMatchObject({ state: "arrives", text: expect.stringContaining("on n2") });
      for (const { show } of hops) if (show !== undefined) await shell(show);
    }
    await reaches(remote.address);
  });

  test("the outside sees the node's address, and explain names the masquerade rule", async () => {
    const { exit, hops } = await explain(outside, own.address);
    const masquerade = hops.find(({ at }) => at === "postrouting");
    expect(masquerade?.text).toMatch(/the rule "pods to the outside, IPv[46]" of inet weft postrouting .*masquerade/);
    expect(exit).toBe(DONE);
    await reaches(outside);
  });

  test("a packet to the node's own address arrives", async () => {
    const { exit, last } = await explain(node.address, own.address);
    expect({ exit, at: last.at, state: last.state }).toEqual({ exit: DONE, at: "arrives", state: "arrives" });
  });

  test("a packet to an unused pod address ends at the bridge", async () => {
    const nobody = isIpv4 ? "10.244.1.200" : "fd00:10:244:1::200";
    const { exit, last } = await explain(nobody, own.address);
    expect({ exit, at: last.at, state: last.state }).toEqual({ exit: FAULTS, at: "pod", state: "ends" });
    expect(await own.inside.pings(nobody, 1)).toBe(false);
  });

  test("an address of the pods' network outside all nodes' subnets is an error", async () => {
    const nobody = isIpv4 ? "10.244.77.5" : "fd00:10:244:77::5";
    for (const from of [own.address, undefined]) {
      const { exit, last } = await explain(nobody, from);
      expect({ exit, at: last.at, state: last.state }).toEqual({ exit: FAULTS, at: "subnet", state: "ends" });
    }
  });

  test("explain shows a blackhole route as the end", async () => {
    await shell(`ip route add blackhole ${outside}`);
    const { exit, last } = await explain(outside, own.address);
    expect({ exit, at: last.at, text: last.text }).toEqual({
      exit: FAULTS,
      at: "route",
      text: expect.stringContaining("blackhole"),
    });
    expect(await own.inside.pings(outside, 1)).toBe(false);
    await shell(`ip route del blackhole ${outside}`);
  });

  test("explain names a chain that drops the packet, and its remedy lets the packet pass", async () => {
    const match = isIpv4 ? `ip daddr ${remote.address}` : `ip6 daddr ${remote.address}`;
    await shell(
      `nft 'add table inet site; add chain inet site f { type filter hook forward priority 0; }; add rule inet site f ${match} drop'`,
    );
    const { exit, last } = await explain(remote.address, own.address);
    expect({ exit, at: last.at, text: last.text }).toEqual({
      exit: FAULTS,
      at: "forward",
      text: expect.stringMatching(/the rule of inet site f \(handle \d+\) drops it/),
    });
    expect(await own.inside.pings(remote.address, 1)).toBe(false);
    await shell(last.remedy ?? "");
    expect((await explain(remote.address, own.address)).exit).toBe(DONE);
    await reaches(remote.address);
    await shell("nft delete table inet site");
  });

  test("without a port, explain reports a possibility; with the port, a certainty", async () => {
    const match = isIpv4 ? `ip daddr ${outside}` : `ip6 daddr ${outside}`;
    const to = isIpv4 ? `ip to ${remote.address}` : `ip6 to ${remote.address}`;
    await shell(
      `nft 'add table inet site; add chain inet site p { type nat hook prerouting priority -100; }; add rule inet site p ${match} tcp dport 80 dnat ${to}'`,
    );
    const unsure = await explain(outside, own.address);
    expect(unsure.hops.find(({ at }) => at === "prerouting")).toMatchObject({
      state: "note",
      text: expect.stringContaining("may translate its destination"),
    });
    const sure = await explain(outside, own.address, "--protocol", "tcp", "--port", "80");
    expect(sure.hops.find(({ at }) => at === "prerouting")).toMatchObject({
      state: "goes",
      text: expect.stringContaining(`sends it to ${remote.address}`),
    });
    expect({ exit: sure.exit, at: sure.last.at, text: sure.last.text }).toEqual({
      ...{ exit: DONE, at: "leaves" },
      text: expect.stringContaining("on n2"),
    });
    expect(await own.inside.seenBy(outside, 80).catch(String)).toMatch(/ECONNREFUSED/);
    await shell("nft delete table inet site");
  });

  describe("without weftd", () => {
    beforeAll(() => node.weftd.stop("SIGKILL"));

    test("status still works", async () => {
      const { exit, node: shown, peers } = await status();
      expect(shown.weftd).toMatchObject({ isAlive: false, isReady: false });
      expect(peers).toMatchObject([{ name: "n2", isProgrammed: true, isAnswering: true }]);
      expect(exit).toBe(FAULTS);
    });

    const damages: [what: string, damage: string, at: string, state: string, kinds: readonly string[]][] = [
      [
        "a missing route",
        `ip ${isIpv4 ? "-4" : "-6"} route del default; ip route del ${subnet}`,
        "route",
        "ends",
        ["route"],
      ],
      ["another program's route to the pod", `ip route add REMOTE via ${nowhere} dev eth0`, "route", "astray", []],
      ...(isTunnel
        ? ([
            ["a missing neighbour", `ip neigh del ${gateway} dev ${device}`, "neighbour", "ends", ["neighbour"]],
            [
              "a missing forwarding entry",
              `bridge fdb del $(ip neigh show ${gateway} dev ${device} | sed 's/.*lladdr \\([^ ]*\\).*/\\1/') dev ${device}`,
              "fdb",
              "ends",
              ["fdb"],
            ],
            [
              "a forwarding entry to another node",
              `bridge fdb replace $(ip neigh show ${gateway} dev ${device} | sed 's/.*lladdr \\([^ ]*\\).*/\\1/') dev ${device} dst ${isIpv4 ? "192.0.2.77" : "2001:db8::77"} self permanent`,
              "fdb",
              "astray",
              ["fdb"],
            ],
          ] as [string, string, string, string, readonly string[]][])
        : []),
    ];
    test.each(damages)(
      "explain shows that the packet ends at %s, and the remedy repairs it",
      async (_what, damage, at, state, kinds) => {
        await shell(damage.replace("REMOTE", remote.address));
        const { exit, last } = await explain(remote.address, own.address);
        expect({ exit, at: last.at, state: last.state }, JSON.stringify(last)).toEqual({ exit: FAULTS, at, state });
        expect(await own.inside.pings(remote.address, 1)).toBe(false);
        const seen = await status();
        expect(seen.peers[0]?.isProgrammed).toBe(kinds.length === 0);
        expect(
          seen.peers[0]?.entries.filter(({ presence }) => presence !== "there").map((entry) => entry.kind),
        ).toEqual(kinds);
        await shell(last.remedy ?? "");
        expect((await explain(remote.address, own.address)).exit).toBe(DONE);
        await reaches(remote.address);
      },
    );

    test("status shows a peer that is down as not answering", async () => {
      await cluster.link("ip", ["link", "set", "port2", "down"]);
      const { peers } = await status();
      expect(peers).toMatchObject([{ name: "n2", isProgrammed: true, isAnswering: false }]);
      await cluster.link("ip", ["link", "set", "port2", "up"]);
    });
  });
});
