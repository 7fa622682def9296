import { expect, test } from "vitest";
import { parsePrefix } from "../../pkg/ip/prefix.ts";
import type { Link } from "../../pkg/kernel/link.ts";
import type { ObservedRoute } from "../../pkg/kernel/route.ts";
import { NFPROTO } from "../../pkg/netlink/nftables.ts";
import type { BinFile } from "../install/bin-directory.ts";
import { parseDeletions } from "./legacy.ts";
import type { ObservedNode } from "./observed.ts";
import { planCleanup, stepText } from "./plan.ts";

const link = (index: number, name: string, kind: string, more: Partial<Link> = {}) =>
  ({ index, name, kind, alias: "", masterIndex: 0, ...more }) as Link;
const route = (destination: string, protocol: number, outputIndex = 2) =>
  ({ destination: parsePrefix(destination), protocol, outputIndex, table: 254 }) as ObservedRoute;
const places = {
  runDir: "/run/weft",
  stateDir: "/var/lib/weft",
  cniConfDir: "/etc/cni/net.d",
  dataDir: "/var/lib/cni/networks",
};
const EMPTY: ObservedNode = {
  places: { ...places, binDir: undefined },
  alive: [],
  links: [],
  routes: [],
  rules: { generation: 1, tables: [], forwarding: { tables: [], chains: [], rules: [] }, podAddresses: [] },
  legacy: [],
  stated: { bridge: undefined, others: [] },
  confFiles: [],
  runDirs: [],
  state: undefined,
  indexPaths: [],
  bin: undefined,
  reserved: [],
};
const EXECUTABLES_STAY = "the executables; use --bin-dir DIR to remove them from the runtime's plugin directory";

function plan(observed: Partial<ObservedNode>, restores = false) {
  const whole = { ...EMPTY, ...observed };
  const { steps, closing, left, pods } = planCleanup(whole, { restores, pluginNames: ["bridge", "ptp"] });
  const commands = [...steps, ...closing].flatMap((step) => stepText(step, whole));
  return { commands, left: left.filter((each) => each !== EXECUTABLES_STAY), pods };
}

test("does nothing if there are no objects of weft", () => {
  const foreign = {
    links: [
      link(2, "eth0", ""),
      link(3, "docker0", "bridge"),
      link(4, "flannel.1", "vxlan"),
      link(5, "v", "veth", { alias: "cnidarian" }),
    ],
    routes: [route("10.0.0.0/8", 3), route("10.1.0.0/16", 118)],
    rules: {
      ...EMPTY.rules,
      tables: [
        { family: NFPROTO.inet, table: "weftish" },
        { family: NFPROTO.ip, table: "nat" },
      ],
    },
    confFiles: ["10-flannel.conflist", "99-x.conflist"],
  };
  expect(plan(foreign)).toEqual({ commands: [], left: [], pods: [] });
});

test("removes everything with weft's mark: configuration first, and devices after routes to them", () => {
  const { commands, pods, left } = plan({
    reserved: [{ dataDir: "/var/lib/cni/networks", count: 2 }],
    links: [
      link(2, "eth0", ""),
      link(3, "flannel.1", "vxlan", { alias: "weft:vtep" }),
      link(4, "cni0", "bridge"),
      link(5, "veth1", "veth", { alias: "cni:cbr0/c1/eth0", masterIndex: 4 }),
      link(6, "ifb1", "ifb", { alias: "cni:cbr0/c1/eth0" }),
    ],
    routes: [route("10.244.2.0/24", 119), route("10.9.0.0/16", 4), route("fe80::/64", 2, 3)],
    rules: {
      ...EMPTY.rules,
      tables: [
        { family: NFPROTO.inet, table: "weft" },
        { family: NFPROTO.bridge, table: "weft_macspoof" },
        { family: NFPROTO.inet, table: "weft-policy" },
        { family: NFPROTO.inet, table: "weft-policy-cut" },
        ...[NFPROTO.inet, NFPROTO.bridge].map((family) => ({ family, table: "weft-senders" })),
        { family: NFPROTO.inet, table: "weft-policy-of-another" },
      ],
    },
    stated: { bridge: "cni0", others: [] },
    confFiles: ["05-weft.conflist", ".05-weft.conflist.new"],
    runDirs: [
      { path: "/run/weft", files: ["nodes.json", ".stamp.json.new", "weftd.sock", "policy.sock"] },
      { path: "/run/b", files: [] },
    ],
    indexPaths: [
      { path: "/n/.weft/cbr0", isDirectory: true },
      { path: "/n/.weft", isDirectory: true },
    ],
  });
  expect(commands).toEqual([
    "mv /etc/cni/net.d/05-weft.conflist /etc/cni/net.d/.05-weft.conflist.removed",
    "rm /etc/cni/net.d/.05-weft.conflist.new",
    "nft delete table inet weft",
    "nft delete table bridge weft_macspoof",
    "nft delete table inet weft-policy",
    "nft delete table inet weft-policy-cut",
    "nft delete table inet weft-senders",
    "nft delete table bridge weft-senders",
    "ip route del 10.244.2.0/24 dev eth0 proto 119",
    "ip link del flannel.1",
    "ip link del veth1",
    "ip link del ifb1",
    "ip link del cni0",
    "rm /run/weft/.stamp.json.new",
    "rm /run/weft/nodes.json",
    "rm /run/weft/policy.sock",
    "rm /run/weft/weftd.sock",
    "rmdir /run/weft",
    "rmdir /run/b",
    "rmdir /n/.weft/cbr0",
    "rmdir /n/.weft",
    "rm /etc/cni/net.d/.05-weft.conflist.removed",
  ]);
  expect(pods).toEqual(["veth1"]);
  expect(left).toEqual([
    "2 reserved addresses in /var/lib/cni/networks: DEL of the pods, or weft ipam gc, frees them",
    "the annotations that weftd has written to this node's Node",
  ]);
});

test("keeps a VXLAN device that another program's routes use, since flanneld continues to use it", () => {
  const { commands, left } = plan({
    links: [
      link(3, "flannel.1", "vxlan", { alias: "weft:vtep" }),
      link(4, "flannel-v6.1", "vxlan", { alias: "weft:vtep" }),
    ],
    routes: [route("10.244.2.0/24", 3, 3), route("10.244.3.0/24", 119, 3), route("fe80::/64", 2, 4)],
    confFiles: ["10-flannel.conflist"],
  });
  expect(commands).toEqual(["ip route del 10.244.3.0/24 dev flannel.1 proto 119", "ip link del flannel-v6.1"]);
  expect(left).toEqual([
    "vxlan flannel.1: another program's routes use it, such as 10.244.2.0/24 dev flannel.1 proto 3",
  ]);
});

test.each([
  [
    "another program's port is attached to it",
    { links: [link(4, "cni0", "bridge"), link(7, "tap0", "tun", { masterIndex: 4 })] },
    "tap0: ports that weft did not create",
  ],
  [
    "it was taken over",
    { links: [link(4, "cni0", "bridge")], confFiles: ["10-f.conflist.weft-disabled"] },
    "it existed before weft",
  ],
  [
    "another network uses it, too",
    { links: [link(4, "cni0", "bridge")] },
    "bridge cni0: 10-flannel.conflist attaches pods to it, too",
    [{ file: "10-flannel.conflist", bridge: "cni0" }],
  ],
])("keeps the bridge if %s", (_why, observed: Partial<ObservedNode>, reason, others = []) => {
  const { commands, left } = plan({ ...observed, stated: { bridge: "cni0", others } });
  expect(commands).toEqual([]);
  expect(left.join("\n")).toContain(reason);
});

test("reports a bridge that no configuration names, unless it is another network's", () => {
  const links = [link(4, "cni0", "bridge")];
  const told = "bridge cni0: no configuration names it; if no program needs it, run ip link del cni0";
  expect(plan({ links })).toMatchObject({ commands: [], left: [told] });
  const others = [{ file: "10-flannel.conflist", bridge: "cni0" }];
  expect(plan({ links, stated: { bridge: undefined, others } })).toMatchObject({ commands: [], left: [] });
});

test("restores disabled configurations only with --restore, and replaces no file", () => {
  const confFiles = ["05-weft.conflist", "10-a b.conflist.weft-disabled", "20-b.conf", "20-b.conf.weft-disabled"];
  expect(plan({ confFiles }).left).toHaveLength(2);
  expect(plan({ confFiles }, true)).toMatchObject({
    commands: [
      "mv /etc/cni/net.d/05-weft.conflist /etc/cni/net.d/.05-weft.conflist.removed",
      "mv '/etc/cni/net.d/10-a b.conflist.weft-disabled' '/etc/cni/net.d/10-a b.conflist'",
      "rm /etc/cni/net.d/.05-weft.conflist.removed",
    ],
    left: ["/etc/cni/net.d/20-b.conf.weft-disabled: 20-b.conf exists again"],
  });
});

test("keeps the run directory if it contains another program's file", () => {
  expect(plan({ runDirs: [{ path: "/run/weft", files: ["stamp.json", "notes"] }] })).toMatchObject({
    commands: ["rm /run/weft/stamp.json"],
    left: ["/run/weft/notes: not a file of weft"],
  });
});

test("removes weftd's state directory", () => {
  expect(plan({ state: { path: "/var/lib/weft", files: ["apiserver.json", ".apiserver.json.new"] } }).commands).toEqual(
    ["rm /var/lib/weft/.apiserver.json.new", "rm /var/lib/weft/apiserver.json", "rmdir /var/lib/weft"],
  );
});

test("removes executables and restores the files they replaced, unless another program has installed them again", () => {
  const file = (name: string, buildId?: string, identity = "1:1", isSymlink = false): [string, BinFile] => [
    name,
    { name, kind: "file", identity, isSymlink, mode: 0o755, buildId },
  ];
  const bin = {
    path: "/bin",
    isThere: true,
    files: new Map([
      file("weft", "old"),
      file("bridge", "new", "1:2"),
      file("ptp", "new", "1:2"),
      file("dhcp", undefined, "1:3"),
      file("vlan", undefined, "1:4"),
      file("retired", "old"),
      file("weft-1.0.bak", "old", "1:5"),
      file("kubectl-weft", "old", "1:1", true),
    ]),
    replaced: ["bridge", "vlan", "macvlan"],
    unfinished: ["/bin/.weft-install-x"],
  };
  expect(plan({ places: { ...places, binDir: "/bin" }, bin })).toEqual({
    commands: [
      "mv /bin/.weft-replaced/bridge /bin/bridge",
      "mv /bin/.weft-replaced/macvlan /bin/macvlan",
      "rm /bin/ptp",
      "rm /bin/retired",
      "rm /bin/.weft-install-x",
      "rm /bin/weft",
    ],
    left: [
      "/bin/.weft-replaced/vlan: /bin has another vlan now",
      "/bin/weft-1.0.bak: a copy of weft under a name that weft install does not use",
      "/bin/kubectl-weft: a copy of weft under a name that weft install does not use",
    ],
    pods: [],
  });
});

test("removes only iptables-legacy's rules with weftd's comment", () => {
  const shown = [
    "-P FORWARD DROP",
    '-A FORWARD -s 10.244.0.0/16 -m comment --comment "weft: pods" -j ACCEPT',
    '-A FORWARD -d 10.244.0.0/16 -m comment --comment "weft: pods" -j ACCEPT',
    '-A FORWARD -s 10.9.0.0/16 -m comment --comment "not weft: pods" -j ACCEPT',
    "-A FORWARD -i docker0 -j ACCEPT",
    "",
  ].join("\n");
  const rest = ["-m", "comment", "--comment", "weft: pods", "-j", "ACCEPT"];
  expect(parseDeletions(shown)).toEqual([
    ["-D", "FORWARD", "-s", "10.244.0.0/16", ...rest],
    ["-D", "FORWARD", "-d", "10.244.0.0/16", ...rest],
  ]);
  const legacy = [
    { program: "iptables-legacy", path: "/usr/sbin/iptables-legacy", deletions: parseDeletions(shown).slice(0, 1) },
    { program: "ip6tables-legacy", path: undefined, deletions: [] },
  ];
  const { commands, left } = plan({ legacy });
  expect(commands).toEqual([
    "/usr/sbin/iptables-legacy -D FORWARD -s 10.244.0.0/16 -m comment --comment 'weft: pods' -j ACCEPT",
  ]);
  expect(left).toEqual([expect.stringContaining("ip6tables-legacy")]);
});
