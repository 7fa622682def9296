/**
 * Policies beside other programs' rules: other firewalls' chains, weft's Services, and kube-proxy's rules as recorded.
 * Foreign rules neither open an isolated pod nor close an allowed one, and no side changes the other's rules.
 */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Cleanup } from "./harness/cleanup.ts";
import { BIN, ECHO_PORT, type Pod } from "./harness/cluster.ts";
import { inOrder } from "./harness/in-order.ts";
import type { Inside } from "./harness/inside.ts";
import { DROPPED_AFTER_MS, InterplayBed, outcome, outcomes } from "./harness/interplay.ts";
import { eventually, PATIENCE } from "./harness/process.ts";

/** Over IPv6, a rejected TCP connection fails at its second SYN, a second later. */
const REJECTED_WITHIN_MS = 2500 * PATIENCE;
const SERVICE_PORT = 80;
const HOST_PORT = 8081;
const NODE_PORT = 30080;
const FAR_NODE_PORT = 30081;
/** Addresses of weft's Services, by what they lead to. */
const SERVICES = {
  web: ["10.96.1.1", "fd00:10:96::1:1"],
  far: ["10.96.1.2", "fd00:10:96::1:2"],
  empty: ["10.96.1.3", "fd00:10:96::1:3"],
} as const;

/** Firewalls that drop or reject what no rule of theirs accepts. */
const FIREWALLS: readonly (readonly [name: string, on: string, off: string, table: string])[] = [
  [
    "docker",
    `iptables-nft-restore <<'END'
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:DOCKER - [0:0]
:DOCKER-USER - [0:0]
:DOCKER-ISOLATION-STAGE-1 - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-ISOLATION-STAGE-1
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o docker0 -j DOCKER
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
-A DOCKER-USER -j RETURN
-A DOCKER-ISOLATION-STAGE-1 -j RETURN
COMMIT
END`,
    "nft delete table ip filter",
    "ip filter",
  ],
  [
    "ufw",
    `iptables-nft-restore <<'END'
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:ufw-before-forward - [0:0]
:ufw-user-forward - [0:0]
:ufw-reject-forward - [0:0]
-A FORWARD -j ufw-before-forward
-A FORWARD -j ufw-reject-forward
-A ufw-before-forward -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A ufw-before-forward -p icmp -m icmp --icmp-type 8 -j ACCEPT
-A ufw-before-forward -j ufw-user-forward
COMMIT
END`,
    "nft delete table ip filter",
    "ip filter",
  ],
  [
    "firewalld",
    `nft 'table inet firewalld { chain filter_FORWARD { type filter hook forward priority filter + 10; policy accept; ct state established,related accept; ct state invalid drop; reject with icmpx admin-prohibited; }; }'`,
    "nft delete table inet firewalld",
    "inet firewalld",
  ],
];

/** A foreign table without weftd's own additions: its chains CNI-*, the jump, and rules with its comments. */
const foreign = (text: string) =>
  text
    .replaceAll(/\tchain CNI-[A-Z]+ \{[^}]*\}\n\n?/g, "")
    .split("\n")
    .filter((line) => !line.includes('comment "weft:') && !line.includes("jump CNI-FORWARD"))
    .map((line) => line.trim())
    .filter((line) => line !== "")
    .sort();

describe("weft's Services and other firewalls, with bridges and vxlan", () => {
  inOrder();
  const cleanup = new Cleanup();
  let bed: InterplayBed;

  beforeAll(async () => {
    bed = await InterplayBed.start(cleanup, "vxlan", "bridge", { WEFTD_SERVICE_PROXY: "nftables" });
    const create = async (name: keyof typeof SERVICES, pod: Pod | undefined, nodePort?: number) => {
      const [four, six] = SERVICES[name];
      await bed.services.create(name, {
        ...{ clusterIP: four, clusterIPs: [four, six], ipFamilies: ["IPv4", "IPv6"] },
        ...(nodePort !== undefined && { type: "NodePort" }),
        ports: [{ name: "http", protocol: "TCP", port: SERVICE_PORT, ...(nodePort !== undefined && { nodePort }) }],
      });
      for (const address of pod?.addresses ?? [])
        await bed.services.createSlice(name, ECHO_PORT, [{ address, node: pod?.node.name ?? "" }]);
    };
    await create("web", bed.pods.web, NODE_PORT);
    await create("far", bed.pods.far, FAR_NODE_PORT);
    await create("empty", undefined);
    await eventually(async () => expect(await outcomes(bed.pods.good.inside, SERVICES.web, 80)).toBe("passes"));
    await eventually(async () => expect(await outcomes(bed.pods.good.inside, SERVICES.far, 80)).toBe("passes"));
  });
  afterAll(() => cleanup.run());

  test("a ClusterIP leads only allowed pods to an isolated pod, on the same node and on another", async () => {
    await eventually(() => bed.expectJudged(SERVICES.web, SERVICE_PORT));
    await eventually(() => bed.expectJudged(SERVICES.far, SERVICE_PORT));
  });

  test("an isolated pod reaches itself by its Service", async () => {
    expect(await outcomes(bed.pods.web.inside, SERVICES.web, SERVICE_PORT)).toBe("passes");
    expect(await outcomes(bed.pods.far.inside, SERVICES.far, SERVICE_PORT)).toBe("passes");
  });

  test("a pod's own node reaches it, also by its Service; another node does not", async () => {
    const { web, far } = bed.pods;
    expect(await outcomes(bed.node.inside, web.addresses, ECHO_PORT)).toBe("passes");
    expect(await outcomes(bed.other.inside, far.addresses, ECHO_PORT)).toBe("passes");
    expect(await outcomes(bed.node.inside, SERVICES.web, SERVICE_PORT)).toBe("passes");
    expect(await outcomes(bed.other.inside, web.addresses, ECHO_PORT)).toBe("dropped");
    expect(await outcomes(bed.node.inside, far.addresses, ECHO_PORT)).toBe("dropped");
    expect(await outcomes(bed.other.inside, SERVICES.web, SERVICE_PORT)).toBe("dropped");
  });

  test("a NodePort is judged by the client before source NAT, and by the forwarding node if the endpoint is remote", async () => {
    const byOwn = () => outcome(bed.other.inside, bed.node.address, NODE_PORT);
    const byForwarding = () => outcome(bed.other.inside, bed.node.address, FAR_NODE_PORT);
    expect([await byOwn(), await byForwarding()]).toEqual(["dropped", "dropped"]);
    await bed.allowBlocks("client", "web", [`${bed.other.address}/32`]);
    await eventually(async () => expect(await byOwn()).toBe("passes"));
    // Node 2's pod sees node 1's address on the overlay.
    await bed.allowBlocks("client-far", "far", [`${bed.other.address}/32`]);
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(await byForwarding()).toBe("dropped");
    await bed.allowBlocks("node-far", "far", ["10.244.1.0/32"]);
    await eventually(async () => expect(await byForwarding()).toBe("passes"));
    for (const name of ["client", "client-far", "node-far"]) await bed.objects.removePolicy(name);
    await eventually(async () => expect([await byOwn(), await byForwarding()]).toEqual(["dropped", "dropped"]));
  });

  test("a Service without endpoints rejects a pod that is isolated for egress", async () => {
    await bed.isolateEgress("no-egress", "bad");
    const { good, bad } = bed.pods;
    await eventually(async () => expect(await outcomes(bad.inside, good.addresses, ECHO_PORT)).toBe("dropped"));
    for (const address of SERVICES.empty)
      expect(await outcome(bad.inside, address, SERVICE_PORT, REJECTED_WITHIN_MS)).toBe("rejected");
    await bed.objects.removePolicy("no-egress");
    await eventually(async () => expect(await outcomes(bad.inside, good.addresses, ECHO_PORT)).toBe("passes"));
  });

  test("a hostPort leads only allowed clients to an isolated pod", async () => {
    const { web, good, bad } = bed.pods;
    const portmap = async (verb: "ADD" | "DEL") => {
      const configuration = {
        ...{ cniVersion: "1.0.0", name: "ports", type: "portmap", capabilities: { portMappings: true } },
        runtimeConfig: { portMappings: [{ hostPort: HOST_PORT, containerPort: ECHO_PORT, protocol: "tcp" }] },
        prevResult: {
          cniVersion: "1.0.0",
          interfaces: [{ name: "eth0", sandbox: web.namespace.path }],
          ips: web.addresses.map((ip) => ({ address: `${ip}/${ip.includes(":") ? 64 : 24}`, interface: 0 })),
        },
      };
      const environment = { CNI_COMMAND: verb, CNI_CONTAINERID: web.name, CNI_NETNS: web.namespace.path };
      const { status, stdout, stderr } = await bed.node.inside.run(
        `${BIN}/portmap`,
        [],
        JSON.stringify(configuration),
        {
          ...environment,
          ...{ CNI_IFNAME: "eth0", CNI_PATH: BIN },
        },
      );
      expect(status, stdout + stderr).toBe(0);
    };
    const reaches = (from: Inside) => outcome(from, bed.node.address, HOST_PORT);
    await portmap("ADD");
    try {
      expect(await reaches(good.inside)).toBe("passes");
      expect(await reaches(bad.inside)).toBe("dropped");
      expect(await reaches(web.inside)).toBe("passes");
      expect(await reaches(bed.other.inside)).toBe("dropped");
      await bed.allowBlocks("host-port", "web", [`${bed.other.address}/32`]);
      await eventually(async () => expect(await reaches(bed.other.inside)).toBe("passes"));
    } finally {
      await bed.objects.removePolicy("host-port").catch(() => undefined);
      await portmap("DEL");
    }
  });

  test("link-local addresses lead no pod to another pod on its bridge, in TCP and UDP", async () => {
    const { web, good, bad } = bed.pods;
    const [link] = await web.inside.json<{ addr_info: { family: string; scope: string; local: string }[] }[]>("ip", [
      ...["-j", "address", "show", "dev", "eth0"],
    ]);
    const local = link?.addr_info.find(({ family, scope }) => family === "inet6" && scope === "link")?.local ?? "";
    const refused = async () =>
      [...(await bed.shell("nft list table bridge weft-senders")).matchAll(/packets (\d+) .*"forged IPv6 sources"/g)]
        .map(([, packets]) => Number(packets))
        .reduce((sum, packets) => sum + packets, 0);
    await web.inside.listen(ECHO_PORT, "udp");
    for (const transport of ["tcp", "udp"] as const) {
      const reach = { transport, timeoutMs: DROPPED_AFTER_MS };
      // The pod itself reaches the address, so it serves it.
      expect(await web.inside.seenBy(`${local}%eth0`, ECHO_PORT, reach)).toMatch(/^fe80:/);
      for (const { inside } of [good, bad]) {
        const before = await refused();
        await expect(inside.seenBy(`${local}%eth0`, ECHO_PORT, reach)).rejects.toThrow(/no answer/);
        expect(await refused()).toBeGreaterThan(before);
      }
    }
  });

  test.each(FIREWALLS)("%s's chains open and close no pod, and no side changes the other's rules", async (...row) => {
    const [, on, off, table] = row;
    const before = await bed.policies();
    const list = async () => foreign(await bed.shell(`nft -s list table ${table}`));
    await bed.shell(on);
    try {
      const theirs = await list();
      await eventually(async () => expect(await bed.shell(`nft list table ${table}`)).toContain('comment "weft:pods'));
      await eventually(() => bed.expectJudged(bed.pods.web.addresses, ECHO_PORT));
      await bed.expectJudged(bed.pods.far.addresses, ECHO_PORT);
      await bed.expectJudged(SERVICES.web, SERVICE_PORT);
      expect(await list()).toEqual(theirs);
      expect(await bed.policies()).toEqual(before);
    } finally {
      await bed.shell(off);
    }
  });
});

/** kube-proxy's recorded rules. rec/web has endpoints, which the test replaces by its pod `web`; rec/empty has none. */
const RECORDED = { web: "10.250.10.1", empty: "10.250.10.4" } as const;
const read = (name: string) => readFileSync(`test/vectors/kube-proxy/${name}`, "utf8");

const PROXIES: readonly (readonly [mode: string, file: string, args: readonly string[], rules: () => string])[] = [
  ["nftables", "nft", ["-f", "-"], () => read("n1-ip.nft") + read("n1-ip6.nft")],
  [
    "iptables-nft",
    "iptables-nft-restore",
    [],
    // kube-proxy makes the counter of dropped packets with a tool that this machine lacks.
    () =>
      `${read("iptables-mode-n1.txt")
        .split("\n")
        .filter((line) => !line.includes("-m nfacct "))
        .join("\n")}\n`,
  ],
];

describe("kube-proxy's rules, with routed pods and host-gw", () => {
  inOrder();
  const cleanup = new Cleanup();
  let bed: InterplayBed;

  beforeAll(async () => {
    bed = await InterplayBed.start(cleanup, "host-gw", "ptp", {});
  });
  afterAll(() => cleanup.run());

  test("a pod's own node reaches it; another node does not, unless a block allows its address", async () => {
    const { web } = bed.pods;
    expect(await outcomes(bed.node.inside, web.addresses, ECHO_PORT)).toBe("passes");
    expect(await outcomes(bed.other.inside, web.addresses, ECHO_PORT)).toBe("dropped");
    await bed.allowBlocks("node", "web", [`${bed.other.address}/32`]);
    await eventually(async () => expect(await outcome(bed.other.inside, web.address, ECHO_PORT)).toBe("passes"));
    await bed.objects.removePolicy("node");
    await eventually(async () => expect(await outcome(bed.other.inside, web.address, ECHO_PORT)).toBe("dropped"));
  });

  test.each(PROXIES)("%s mode: policies judge the pod behind the Service", async (mode, file, args, rules) => {
    const { web, good, bad } = bed.pods;
    const before = await bed.policies();
    // The endpoints of rec/web.
    const text = rules()
      .replaceAll(/10\.244\.1\.201|10\.244\.2\.201/g, web.address)
      .replaceAll(/\b8080\b/g, `${ECHO_PORT}`);
    const { status, stderr } = await bed.node.inside.run(file, args, text);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    const isIptables = mode !== "nftables";
    const list = () =>
      isIptables
        ? bed.shell("iptables-nft-save -t nat")
        : bed.shell("nft -s list table ip kube-proxy; nft -s list table ip6 kube-proxy");
    const stable = (rulesText: string) => rulesText.replaceAll(/\[\d+:\d+\]|^#.*$/gm, "");
    const theirs = stable(await list());
    try {
      expect(await outcome(good.inside, RECORDED.web, 80)).toBe("passes");
      expect(await outcome(bad.inside, RECORDED.web, 80)).toBe("dropped");
      expect(await outcome(web.inside, RECORDED.web, 80)).toBe("passes");
      expect(await outcome(bed.node.inside, RECORDED.web, 80)).toBe("passes");
      expect(await outcome(bad.inside, RECORDED.empty, 80)).toBe("rejected");
      await bed.isolateEgress("no-egress", "bad");
      await eventually(async () => expect(await outcomes(bad.inside, good.addresses, ECHO_PORT)).toBe("dropped"));
      expect(await outcome(bad.inside, RECORDED.empty, 80)).toBe("rejected");
      await bed.objects.removePolicy("no-egress");
      await eventually(async () => expect(await outcomes(bad.inside, good.addresses, ECHO_PORT)).toBe("passes"));
      await bed.expectJudged(web.addresses, ECHO_PORT);
      expect(stable(await list())).toBe(theirs);
      await eventually(async () => expect(await bed.policies()).toEqual(before));
    } finally {
      await bed.shell(
        isIptables
          ? "nft delete table ip nat; nft delete table ip filter; nft delete table ip mangle"
          : "nft delete table ip kube-proxy; nft delete table ip6 kube-proxy",
      );
    }
  });
});
