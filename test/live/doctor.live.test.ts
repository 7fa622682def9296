/**
 * weft doctor on a real node. For a healthy node it prints one line. It reports each planted fault by its name, and
 * nothing else. If the remedy is a command, the test runs it as printed, and the finding disappears.
 *
 * Longer than 400 lines: a table of faults, each with its finding.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Cleanup } from "./harness/cleanup.ts";
import { BIN, Cluster, type Families, type Mode, type Node } from "./harness/cluster.ts";
import { inOrder } from "./harness/in-order.ts";
import { eventually, PATIENCE } from "./harness/process.ts";

interface Finding {
  readonly check: string;
  readonly severity: "error" | "warning" | "note";
  readonly seen: string;
  readonly run?: string;
  readonly advice?: string;
}

/** A fault: the command that plants it, doctor's name for it, and how it is repaired if the remedy is not a command. */
interface Fault {
  readonly name: string;
  readonly plant: string;
  readonly finds: readonly string[];
  readonly says: RegExp;
  readonly mend?: string;
  readonly severity?: Finding["severity"];
}

const STATUS = { error: 5, warning: 4, note: 0 } as const;

/** Faults that weftd does not repair, or not immediately: planted while it runs. */
const WHILE_ALIVE: readonly Fault[] = [
  {
    name: "another network's configuration first",
    plant: `cp "$CONF/05-weft.conflist" "$CONF/00-other.conflist"`,
    finds: ["conflist-first"],
    says: /00-other\.conflist .* sorts before 05-weft\.conflist/,
  },
  {
    name: "a configuration that is not JSON",
    plant: `echo '{"cniVersion": ' >"$CONF/99-broken.conflist"`,
    finds: ["conflist-valid"],
    says: /99-broken\.conflist: cannot decode/,
    severity: "warning",
  },
  {
    name: "another network's configuration after weft's",
    plant: `sed 's/cbr0/other/' "$CONF/05-weft.conflist" >"$CONF/99-other.conflist"`,
    finds: ["other-networks"],
    says: /network other\) is installed, and sorts after/,
    severity: "note",
  },
  {
    name: "a plugin missing",
    plant: `rm "$PLUGINS/portmap"`,
    finds: ["plugins"],
    says: /plugins are missing in \S+: portmap/,
    mend: `ln "$PLUGINS/weft" "$PLUGINS/portmap"`,
  },
  {
    name: "a plugin of another build",
    plant: `rm "$PLUGINS/bridge"; cp /bin/true "$PLUGINS/bridge"`,
    finds: ["plugins"],
    says: /not of this build: bridge/,
    severity: "warning",
    mend: `rm "$PLUGINS/bridge"; ln "$PLUGINS/weft" "$PLUGINS/bridge"`,
  },
  {
    name: "a chain that drops VXLAN packets",
    plant:
      "nft 'add table inet site; add chain inet site input { type filter hook input priority 0; policy drop; }; add rule inet site input udp dport != 8472 accept; add rule inet site input tcp dport 0-65535 accept; add rule inet site input meta l4proto { icmp, ipv6-icmp } accept'",
    finds: ["vxlan-input"],
    says: /UDP port 8472 are dropped by the policy of inet site input/,
    mend: "nft delete table inet site",
  },
  {
    name: "a rule that drops VXLAN packets",
    plant:
      "nft 'add table ip site; add chain ip site in { type filter hook prerouting priority -300; }; add rule ip site in iifname \"eth0\" udp dport { 4789, 8472 } counter drop'",
    finds: ["vxlan-input"],
    says: /are dropped by a rule of ip site in \(handle \d+\)/,
  },
  {
    name: "a rule that drops pods' packets",
    plant:
      "nft 'add table inet site; add chain inet site forward { type filter hook forward priority 0; }; add rule inet site forward ip daddr 10.244.2.0/24 drop'",
    finds: ["forward-drop"],
    says: /this node's pods to n2's are dropped by a rule of inet site forward/,
  },
  {
    name: "Calico's chains",
    plant:
      "nft 'add table ip filter; add chain ip filter INPUT { type filter hook input priority 0; }; add chain ip filter cali-INPUT; add chain ip filter cali-wl-to-host; add rule ip filter cali-INPUT jump cali-wl-to-host; add rule ip filter INPUT jump cali-INPUT'",
    finds: ["left-chains", "policy-engines"],
    says: /ip filter contains chains of another network plugin: cali-INPUT, cali-wl-to-host/,
    severity: "warning",
  },
  {
    name: "flanneld's table",
    plant: "nft 'add table ip flannel-ipv4; add chain ip flannel-ipv4 postrtg'",
    finds: ["left-chains"],
    says: /the table ip flannel-ipv4/,
    severity: "warning",
  },
  {
    name: "Calico's device",
    plant: "ip link add cali0123456789a type bridge",
    finds: ["left-devices"],
    says: /cali0123456789a has a name that Calico uses/,
    severity: "warning",
  },
  {
    name: "kube-router's bridge",
    plant: "ip link add kube-bridge type bridge",
    finds: ["left-devices"],
    says: /kube-bridge has a name that kube-router uses/,
    severity: "warning",
  },
  {
    name: "an earlier subnet's address on the bridge",
    plant: "ip address add 10.99.3.1/24 dev cni0",
    finds: ["bridge-address"],
    says: /cni0 has the address 10\.99\.3\.1\/24/,
    severity: "warning",
  },
  {
    name: "another program's route into a peer's subnet",
    plant: "ip route add 10.244.2.128/25 via 192.0.2.77 dev eth0",
    finds: ["foreign-routes"],
    says: /10\.244\.2\.128\/25 via 192\.0\.2\.77 dev eth0.* its destination is in the pods' network/,
  },
  {
    name: "another program's route in place of weft's",
    plant: "ip route replace 10.244.2.0/24 via 192.0.2.77 dev eth0 proto static",
    finds: ["data-path", "weftd-ready"],
    says: /is not weft's and conflicts with/,
  },
  {
    name: "a bridge with too large an MTU",
    plant: "ip link set cni0 mtu 1500",
    finds: ["mtu"],
    says: /cni0 has an MTU of 1500, but the data path to other nodes carries 1450/,
    severity: "warning",
  },
  {
    name: "strict reverse path filtering",
    plant: "sysctl -qw net.ipv4.conf.eth0.rp_filter=1",
    finds: ["reverse-path"],
    says: /reverse path filtering of eth0 is strict/,
    severity: "note",
  },
  {
    name: "bridged packets hidden from the rules",
    plant: "kill -STOP $WEFTD; sysctl -qw net.bridge.bridge-nf-call-iptables=0",
    finds: ["bridge-filter", "weftd-ready"],
    says: /bridge-nf-call-iptables is 0/,
    mend: "sysctl -qw net.bridge.bridge-nf-call-iptables=1; kill -CONT $WEFTD",
  },
  {
    name: "a weftd that hangs",
    plant: "kill -STOP $WEFTD",
    finds: ["weftd-ready"],
    says: /weftd runs but does not answer \/readyz/,
    severity: "warning",
    mend: "kill -CONT $WEFTD",
  },
  {
    name: "checksum offload off",
    plant: "ethtool -K flannel.1 tx-checksum-ip-generic off",
    finds: ["checksum-offload"],
    says: /checksum offload of flannel\.1 is off/,
    severity: "note",
  },
  {
    name: "a full file system of reservations",
    plant: "mount -t tmpfs -o size=64k tmpfs /var/lib/cni; head -c 65536 /dev/zero >/var/lib/cni/full",
    finds: ["room"],
    says: /file system of \/var\/lib\/cni.* has 0 of 65536 bytes left/,
    mend: "umount /var/lib/cni",
  },
  {
    name: "a file system of reservations without free inodes",
    plant: "mount -t tmpfs -o nr_inodes=40 tmpfs /var/lib/cni; for n in $(seq 39); do : >/var/lib/cni/$n; done",
    finds: ["room"],
    says: /inodes left/,
    mend: "umount /var/lib/cni",
  },
  {
    name: "a subnet that is nearly used up",
    plant: 'for n in $(seq 10 250); do printf "c$n\\r\\neth0" >/var/lib/cni/networks/cbr0/10.244.1.$n; done',
    finds: ["address-use"],
    says: /pods use 242 of the 253 addresses of 10\.244\.1\.0\/24/,
    severity: "warning",
    mend: "for n in $(seq 10 250); do rm /var/lib/cni/networks/cbr0/10.244.1.$n; done",
  },
  {
    name: "an address left behind by a pod",
    plant: `printf 'gone\\r\\neth0' >/var/lib/cni/networks/cbr0/10.244.1.99; touch -d '1 hour ago' /var/lib/cni/networks/cbr0/10.244.1.99`,
    finds: ["leaked-addresses"],
    says: /1 reserved address has no pod: 10\.244\.1\.99 of cbr0/,
    severity: "warning",
  },
  {
    name: "systemd-networkd with its default configuration",
    plant:
      "mount -t tmpfs tmpfs /run/systemd; mkdir -p /run/systemd/netif/links; : >/run/systemd/netif/links/2; mount -t tmpfs tmpfs /etc/systemd",
    finds: ["systemd-networkd"],
    says: /runs with ManageForeignRoutes and ManageForeignRoutingPolicyRules/,
    severity: "warning",
  },
  {
    name: "a path with a smaller MTU than the underlay's",
    plant: "LINK ip link set port1 mtu 1400",
    finds: ["path-mtu"],
    says: /packets of 1500 bytes do not reach n2 \(192\.0\.2\.2\), but packets of 1400 bytes do/,
    mend: "LINK ip link set port1 mtu 1500",
  },
  {
    name: "a firewall on a peer",
    plant:
      "OTHER nft 'add table ip site; add chain ip site in { type filter hook input priority 0; }; add rule ip site in udp dport 8472 drop'",
    finds: ["tunnel"],
    says: /n2 answers at 192\.0\.2\.2, but not through flannel\.1 \(10\.244\.2\.0\)/,
    mend: "OTHER nft delete table ip site",
  },
  {
    name: "an unreachable peer",
    plant: "LINK ip link set port2 down",
    finds: ["silent-peers"],
    says: /no answer from n2 \(192\.0\.2\.2\) \(1 peers were probed\)/,
    severity: "warning",
    mend: "LINK ip link set port2 up",
  },
];

/** Faults that weftd would repair at once: planted while it is dead. */
const WHILE_DEAD: readonly Fault[] = [
  {
    name: "forwarding off",
    plant: "sysctl -qw net.ipv4.ip_forward=0",
    finds: ["ip-forwarding"],
    says: /net\.ipv4\.ip_forward is 0/,
  },
  {
    name: "forwarding of the bridge off",
    plant: "sysctl -qw net.ipv4.conf.cni0.forwarding=0",
    finds: ["ip-forwarding"],
    says: /net\.ipv4\.conf\.cni0\.forwarding is 0/,
  },
  {
    name: "a route missing",
    plant: "ip route del 10.244.2.0/24",
    finds: ["data-path"],
    says: /ip route add 10\.244\.2\.0\/24/,
  },
  {
    name: "the VXLAN device missing",
    plant: "ip link del flannel.1",
    finds: ["data-path"],
    says: /ip link add flannel\.1 .* type vxlan id 1 dstport 8472/,
  },
  {
    name: "a neighbour missing",
    plant: "ip neigh del 10.244.2.0 dev flannel.1",
    finds: ["data-path"],
    says: /ip neigh replace 10\.244\.2\.0 lladdr .* dev flannel\.1 nud permanent/,
  },
  {
    name: "a forwarding entry to another node",
    plant: "bridge fdb replace PEER_MAC dev flannel.1 dst 192.0.2.77 self permanent",
    finds: ["data-path"],
    says: /bridge fdb replace .* dst 192\.0\.2\.2 self permanent/,
  },
  {
    name: "the VXLAN device down",
    plant: "ip link set flannel.1 down",
    finds: ["data-path"],
    says: /ip link set flannel\.1 .* up/,
  },
  {
    name: "the VXLAN device's MTU changed",
    plant: "ip link set flannel.1 mtu 1400",
    finds: ["data-path"],
    says: /ip link set flannel\.1 .*mtu 1450/,
  },
  {
    name: "the bridge's address missing",
    plant: "ip address del 10.244.1.1/24 dev cni0",
    finds: ["pod-bridge"],
    says: /ip address add 10\.244\.1\.1\/24 .*dev cni0/,
  },
  {
    name: "a pod unplugged",
    plant: "ip link set PORT nomaster",
    finds: ["pod-bridge"],
    says: /ip link set \S+ master cni0/,
  },
  {
    name: "weftd's table flushed",
    plant: "nft flush chain inet weft postrouting",
    finds: ["node-rules"],
    says: /no rule masquerades packets from pods of 10\.244\.1\.0\/24/,
    mend: "RESTORE_RULES",
  },
  {
    name: "a forward chain that drops packets",
    plant:
      "nft 'add table inet site; add chain inet site forward { type filter hook forward priority 0; policy drop; }'",
    finds: ["forward-drop"],
    says: /a forward chain drops unknown packets/,
  },
  {
    name: "another program's VXLAN device",
    plant: "ip link del flannel.1; ip link add other1 type vxlan id 1 dstport 8472 local 192.0.2.1 dev eth0",
    finds: ["vxlan-rival", "data-path"],
    says: /another program's device other1 has \S+'s VNI 1 and UDP port 8472/,
  },
  {
    name: "a node table of another boot",
    plant: `sed -i 's/"bootId":"[^"]*"/"bootId":"another"/' "$RUN/stamp.json"`,
    finds: ["node-table"],
    says: /stamp\.json was written before the last boot/,
    mend: `sed -i "s/\\"bootId\\":\\"another\\"/\\"bootId\\":\\"$(cat /proc/sys/kernel/random/boot_id)\\"/" "$RUN/stamp.json"`,
  },
  {
    name: "a damaged node table",
    plant: `cp "$RUN/stamp.json" "$RUN/kept"; echo '{' >"$RUN/stamp.json"`,
    finds: ["node-table"],
    says: /stamp\.json: /,
    mend: `mv "$RUN/kept" "$RUN/stamp.json"`,
  },
  {
    name: "weftd's configuration missing",
    plant: `mv "$CONF/05-weft.conflist" "$CONF/kept"`,
    finds: ["conflist-first"],
    says: /05-weft\.conflist is missing/,
    mend: `mv "$CONF/kept" "$CONF/05-weft.conflist"`,
  },
  {
    name: "a configuration of another subnet",
    plant: `sed -i 's/10.244.1.0/10.244.9.0/' "$CONF/05-weft.conflist"`,
    finds: ["conflist-subnets"],
    says: /gives pods addresses from 10\.244\.9\.0\/24, but this node's subnets are 10\.244\.1\.0\/24/,
    mend: `sed -i 's/10.244.9.0/10.244.1.0/' "$CONF/05-weft.conflist"`,
  },
];

describe.concurrent("a node with VXLAN", () => {
  inOrder();
  const cleanup = new Cleanup();
  let cluster: Cluster;
  let node: Node;
  let other: Node;
  let folder: string;
  let port = "";
  let peerMac = "";

  beforeAll(async () => {
    cluster = await Cluster.start("vxlan", cleanup);
    node = await cluster.addNode(1);
    other = await cluster.addNode(2);
    // Probes are answered by ICMP errors, which the kernel limits to one a second: a run of probes would lose answers.
    for (const { inside } of [node, other]) await inside.succeed("sysctl", ["-qw", "net.ipv4.icmp_ratelimit=0"]);
    await eventually(async () => expect((await cluster.peerRoutes(node)).size).toBe(1));
    await eventually(async () => expect((await cluster.peerRoutes(other)).size).toBe(1));
    await cluster.addPod(node, "a");
    await cluster.addPod(other, "b");
    folder = `${node.runDir}/../bin`;
    // Hard links to this build, and stubs for tools that the test machine may lack.
    await shell(`mkdir -p "$PLUGINS" "$STUBS"; for f in ${BIN}/*; do [ "$(basename $f)" = weftd ] || cp -l "$f" "$PLUGINS"; done;
      for tool in systemctl nmcli; do printf '#!/bin/sh\\n' >"$STUBS/$tool"; chmod 755 "$STUBS/$tool"; done`);
    const [veth] = await node.inside.json<{ ifname: string }[]>("ip", [
      "-j",
      "link",
      "show",
      "type",
      "veth",
      "master",
      "cni0",
    ]);
    port = veth?.ifname ?? "";
    const [vtep] = await other.inside.json<{ address: string }[]>("ip", ["-j", "link", "show", "flannel.1"]);
    peerMac = vtep?.address ?? "";
    const rules = await node.inside.succeed("nft", ["list", "table", "inet", "weft"]);
    await node.inside.run("sh", ["-c", 'cat >"$0"', `${node.runDir}/rules`], rules);
  }, 60_000 * PATIENCE);

  afterAll(() => cleanup.run());

  /** Runs a script on the node; on the link or the other node if it begins with LINK or OTHER. */
  async function shell(script: string): Promise<string> {
    const [first, ...rest] = script.split(" ");
    if (first === "LINK") return cluster.link(rest[0] ?? "", rest.slice(1));
    if (first === "OTHER") return other.inside.succeed("sh", ["-ec", rest.join(" ")]);
    const text = script
      .replaceAll("PORT", port)
      .replaceAll("PEER_MAC", peerMac)
      .replaceAll("RESTORE_RULES", 'nft delete table inet weft; nft -f "$RUN/rules"');
    const variables = {
      ...{ CONF: node.confDir, RUN: node.runDir, PLUGINS: folder, STUBS: `${folder}-stubs` },
      WEFTD: await weftdPid(),
      PATH: `${folder}-stubs:${process.env.PATH}`,
    };
    const { status, stdout, stderr } = await node.inside.run("sh", ["-ec", text], "", variables);
    if (status !== 0) throw new Error(`${text}: exit status ${status}: ${stderr || stdout}`);
    return stdout;
  }

  /** The process that listens in the node's namespace. */
  async function weftdPid(): Promise<string> {
    const listeners = await node.inside.succeed("ss", ["-Hltnp", "sport = :9468"]);
    return /pid=(\d+)/.exec(listeners)?.[1] ?? "";
  }

  const arguments_ = () => ["--run-dir", node.runDir, "--cni-conf-dir", node.confDir, "--cni-bin-dir", folder];

  async function examine(): Promise<readonly Finding[]> {
    const { status, stdout, stderr } = await node.inside.run(`${folder}/weft`, [
      "doctor",
      "-o",
      "json",
      ...arguments_(),
    ]);
    expect(stderr).toBe("");
    const { findings } = JSON.parse(stdout) as { findings: Finding[] };
    const worst = (["error", "warning", "note"] as const).find((severity) =>
      findings.some((one) => one.severity === severity),
    );
    expect(status).toBe(worst === undefined ? 0 : STATUS[worst]);
    return findings;
  }

  const namesOf = (findings: readonly Finding[]) => [...new Set(findings.map(({ check }) => check))].sort();

  async function expectOnly(names: readonly string[]): Promise<readonly Finding[]> {
    return eventually(
      async () => {
        const findings = await examine();
        expect(namesOf(findings), JSON.stringify(findings, null, 2)).toEqual([...names].sort());
        return findings;
      },
      15_000,
      300,
    );
  }

  /**
   * Plants the fault on a node with `baseline` findings, expects its finding, applies the remedy, and examines the node
   * again.
   */
  async function prove(fault: Fault, baseline: readonly string[]): Promise<void> {
    await shell(fault.plant);
    let isMended = false;
    try {
      await proveFound(fault, baseline);
      isMended = true;
    } finally {
      // A fault that was not reported must not affect the next tests.
      if (!isMended)
        await shell(`set +e; ${fault.mend ?? (await examine()).map(({ run }) => run ?? "true").join("; ")}`);
    }
  }

  async function proveFound(fault: Fault, baseline: readonly string[]): Promise<void> {
    const findings = await expectOnly([...baseline, ...fault.finds]);
    const found = findings.find(({ check, seen }) => check === fault.finds[0] && fault.says.test(seen));
    expect(found, JSON.stringify(findings, null, 2)).toBeDefined();
    expect(found?.severity).toBe(fault.severity ?? "error");
    expect(found?.run ?? found?.advice ?? "", "a remedy").not.toBe("");
    if (fault.mend === undefined) expect(found?.run, "a command, since the test has no other remedy").toBeDefined();
    if (fault.mend !== undefined) await shell(fault.mend);
    // Findings that follow from the fault may have their own command: this also holds for those after the first.
    else
      for (const check of fault.finds) {
        const { run } = (await examine()).find((one) => one.check === check) ?? {};
        if (run !== undefined) await shell(run);
      }
    await expectOnly(baseline);
  }

  test("prints one line for a healthy node", async () => {
    await expectOnly([]);
    const { status, stdout } = await node.inside.run(`${folder}/weft`, ["doctor", ...arguments_()]);
    expect({ status, stdout }).toEqual({
      status: 0,
      stdout: expect.stringMatching(/^n1 is healthy: \d+ checks, 1 peer\n$/),
    });
  });

  test.each(WHILE_ALIVE)("$name", (fault) => prove(fault, []), 60_000 * PATIENCE);

  describe("without weftd", () => {
    beforeAll(async () => {
      await node.weftd.stop("SIGKILL");
    });

    test("reports the missing weftd", async () => {
      const [finding] = await expectOnly(["weftd-alive"]);
      expect(finding?.seen).toMatch(/no process listens on .*weftd\.sock/);
    });

    test.each(WHILE_DEAD)("$name", (fault) => prove(fault, ["weftd-alive"]), 60_000 * PATIENCE);
  });
});

describe.concurrent.each<[Mode, Families]>([
  ["vxlan", "ipv6"],
  ["host-gw", "ipv4"],
  ["auto", "dual"],
])("by %s, %s", (mode, families) => {
  const cleanup = new Cleanup();
  afterAll(() => cleanup.run());

  test(
    "prints one line for a healthy node",
    async () => {
      const cluster = await Cluster.start(mode, cleanup, { families });
      const node = await cluster.addNode(1);
      const other = await cluster.addNode(2);
      const count = families === "dual" ? 2 : 1;
      for (const one of [node, other])
        await eventually(async () => expect((await cluster.peerRoutes(one)).size).toBe(count));
      await cluster.addPod(node, "a");
      const places = ["--run-dir", node.runDir, "--cni-conf-dir", node.confDir, "--cni-bin-dir", BIN];
      await eventually(async () => {
        const { status, stdout } = await node.inside.run(`${BIN}/weft`, ["doctor", ...places]);
        expect({ status, stdout }).toEqual({ status: 0, stdout: expect.stringMatching(/^n1 is healthy: /) });
      });
    },
    60_000 * PATIENCE,
  );
});
