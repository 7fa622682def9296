/**
 * firewall on a real kernel, with other programs' rules that drop unknown packets, tested by which packets pass.
 *
 * Longer than 400 lines: all cases are of one plugin, on one bed.
 */
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { describeWhere } from "./harness/kernel.ts";
import { type Answer, OURS, PluginBed, REFERENCE } from "./harness/plugin-bed.ts";
import { eventually } from "./harness/process.ts";

const BRIDGE = {
  cniVersion: "1.1.0",
  name: "net",
  type: "bridge",
  bridge: "cni0",
  isDefaultGateway: true,
  ipam: { type: "host-local", ranges: [[{ subnet: "10.22.0.0/24" }], [{ subnet: "fd00:22::/64" }]] },
};
const POD = ["10.22.0.2", "fd00:22::2"] as const;
const OUTSIDE = ["198.51.100.2", "2001:db8:51::2"] as const;
const FORWARDING = 7001;

let bed: PluginBed;
let outside: Awaited<ReturnType<PluginBed["anotherPod"]>>["inside"];

/** A neighbour of the node with a route to the pods. */
async function plugIn(label: string, at: { device: string; node: string[]; own: string[] }): Promise<typeof outside> {
  const { namespace, inside } = await bed.anotherPod(label);
  for (const side of [bed.node, inside]) await withoutDad(side);
  await bed.node.succeed("ip", [
    "link",
    "add",
    at.device,
    "type",
    "veth",
    "peer",
    "name",
    "eth0",
    "netns",
    namespace.name,
  ]);
  await bed.node.succeed("ip", ["link", "set", at.device, "up"]);
  await inside.succeed("ip", ["link", "set", "eth0", "up"]);
  for (const address of at.node) await bed.node.succeed("ip", ["address", "add", address, "dev", at.device]);
  for (const address of at.own) await inside.succeed("ip", ["address", "add", address, "dev", "eth0"]);
  for (const address of at.node)
    await inside.succeed("ip", ["route", "add", "default", "via", address.replace(/\/.*/, "")]);
  return inside;
}

/** New IPv6 addresses are usable at once: no other host could have them. */
const withoutDad = (inside: typeof outside) =>
  inside.succeed("sh", ["-c", "for of in all default; do echo 0 >/proc/sys/net/ipv6/conf/$of/accept_dad; done"]);

beforeEach(async () => {
  bed = await PluginBed.make();
  outside = await plugIn("outside", {
    device: "uplink",
    node: ["198.51.100.1/24", "2001:db8:51::1/64"],
    own: [`${OUTSIDE[0]}/24`, `${OUTSIDE[1]}/64`],
  });
  await outside.listen(FORWARDING);
});
afterEach(() => bed.close());

const nft = (...words: string[]) => bed.node.succeed("nft", words);
const restore = (tool: string, text: string) => bed.node.succeed("sh", ["-c", `${tool} <<'END'\n${text}\nEND`]);
/** Other programs' tables, rule by rule. */
async function foreign(): Promise<unknown[]> {
  const { nftables } = JSON.parse(await nft("-j", "list", "ruleset")) as { nftables: Record<string, object>[] };
  return (
    nftables
      .flatMap((entry) => Object.entries(entry))
      .filter(([kind, object]) => kind !== "metainfo" && !/^weft_/.test(tableOf(kind, object)))
      // A chain's counters are not compared.
      .map((entry) => JSON.parse(JSON.stringify(entry).replace(/"(packets|bytes)":\d+/g, '"$1":0')))
  );
}
function tableOf(kind: string, object: object): string {
  const { name = "", table = "" } = object as { name?: string; table?: string };
  return kind === "table" ? name : table;
}

const firewall = (more: object, { json }: Pick<Answer, "json">) => ({
  cniVersion: "1.1.0",
  name: "net",
  type: "firewall",
  ...more,
  prevResult: json,
});

/** The chain's ADD. Returns the configuration, with the result, for DEL and CHECK. */
async function attach(more: object = {}, options: object = {}, bridge: object = BRIDGE) {
  const added = await bed.call(OURS, "bridge", "ADD", bridge, options);
  expect(added).toMatchObject({ status: 0 });
  const configuration = firewall(more, added);
  const answer = await bed.call(OURS, "firewall", "ADD", configuration, options);
  expect(answer).toMatchObject({ status: 0 });
  expect(answer.json).toEqual(added.json);
  return configuration;
}

const succeeds = async (plugin: string, verb: string, input: unknown, options = {}) =>
  expect(await bed.call(OURS, plugin, verb, input, options)).toEqual({ status: 0, output: "", json: undefined });

/** The addresses that answer. */
async function reach(from: typeof outside, targets: readonly string[], port = FORWARDING): Promise<string[]> {
  const answers = await Promise.all(
    targets.map((target) =>
      from.seenBy(target, port, { timeoutMs: 700 }).then(
        () => [target],
        () => [],
      ),
    ),
  );
  return answers.flat();
}

const DOCKER = `*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:DOCKER - [0:0]
:DOCKER-ISOLATION-STAGE-1 - [0:0]
:DOCKER-ISOLATION-STAGE-2 - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-ISOLATION-STAGE-1
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o docker0 -j DOCKER
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
-A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
-A DOCKER-ISOLATION-STAGE-1 -j RETURN
-A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
-A DOCKER-ISOLATION-STAGE-2 -j RETURN
-A DOCKER-USER -j RETURN
COMMIT`;
const ufw = (prefix: string, reject: string) => `*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:${prefix}-before-forward - [0:0]
:${prefix}-reject-forward - [0:0]
:${prefix}-user-forward - [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT -p ${reject === "icmp6" ? "ipv6-icmp" : "icmp"} -j ACCEPT
-A FORWARD -j ${prefix}-before-forward
-A FORWARD -j ${prefix}-reject-forward
-A ${prefix}-before-forward -j ${prefix}-user-forward
COMMIT`;
const FIREWALLD_LIKE = `table inet firewalld_like {
  chain filter_FORWARD {
    type filter hook forward priority 10; policy accept;
    ct status dnat accept
    iifname "lo" accept
    jump filter_FORWARD_ZONES
    ct state invalid drop
    reject with icmpx type admin-prohibited
  }
  chain filter_FORWARD_ZONES {
    goto filter_FWD_public
  }
  chain filter_FWD_public {
    jump filter_FWD_public_log
  }
  chain filter_FWD_public_log {
  }
}`;
const PLAIN = `table inet site {
  chain forward {
    type filter hook forward priority 0; policy drop;
    ip daddr 203.0.113.1 accept
  }
}
table ip6 six {
  chain fwdchain {
    type filter hook forward priority -5; policy drop;
  }
}`;

const WALLS: Record<string, () => Promise<unknown>> = {
  "iptables' FORWARD with policy DROP": async () => {
    for (const tool of ["iptables-nft", "ip6tables-nft"]) await bed.node.succeed(tool, ["-P", "FORWARD", "DROP"]);
  },
  "iptables' FORWARD with a final REJECT": async () => {
    for (const tool of ["iptables-nft", "ip6tables-nft"])
      await bed.node.succeed(tool, ["-A", "FORWARD", "-j", "REJECT"]);
  },
  "docker's chains": async () => {
    await restore("iptables-nft-restore", DOCKER);
    await restore("ip6tables-nft-restore", DOCKER);
  },
  "ufw's chains": async () => {
    await restore("iptables-nft-restore", ufw("ufw", "icmp"));
    await restore("ip6tables-nft-restore", ufw("ufw6", "icmp6"));
  },
  "firewalld's chains": () => restore("nft -f -", FIREWALLD_LIKE),
  "nftables chains with policy drop": () => restore("nft -f -", PLAIN),
  "iptables' mangle table": async () => {
    for (const tool of ["iptables-nft", "ip6tables-nft"])
      await bed.node.succeed(tool, ["-t", "mangle", "-A", "FORWARD", "-j", "DROP"]);
  },
};

describe.each(Object.keys(WALLS))("under %s", (name) => {
  test("a pod reaches the outside in both families, the outside does not reach it, and DEL restores the chains", async () => {
    await WALLS[name]?.();
    const before = await foreign();
    const added = await bed.call(OURS, "bridge", "ADD", BRIDGE);
    await bed.pod.listen(FORWARDING);
    expect(await reach(bed.pod, OUTSIDE)).toEqual([]);
    const configuration = firewall({}, added);
    expect(await bed.call(OURS, "firewall", "ADD", configuration)).toMatchObject({ status: 0, json: added.json });

    expect(await reach(bed.pod, OUTSIDE)).toEqual([...OUTSIDE]);
    expect(await reach(outside, POD)).toEqual([]);
    await succeeds("firewall", "CHECK", configuration);
    const after = await foreign();
    expect(after).not.toEqual(before);
    // A second ADD adds nothing twice.
    await bed.call(OURS, "firewall", "ADD", configuration);
    expect(await foreign()).toEqual(after);

    await succeeds("firewall", "DEL", configuration);
    expect(await foreign()).toEqual(before);
    expect(await nft("list", "table", "inet", "weft_firewall")).not.toMatch(/elements/);
    await succeeds("firewall", "DEL", configuration);
    expect((await bed.call(OURS, "firewall", "CHECK", configuration)).status).toBe(1);
  });

  test("DEL needs no prevResult, and GC removes the rules of invalid attachments", async () => {
    await WALLS[name]?.();
    const before = await foreign();
    await attach();
    const alone = await foreign();
    const other = await bed.anotherPod("other");
    const options = { containerId: "c2", netns: other.namespace.path };
    await attach({}, options);
    const list = (...ids: string[]) => ({
      ...{ cniVersion: "1.1.0", name: "net", type: "firewall" },
      "cni.dev/valid-attachments": ids.map((containerID) => ({ containerID, ifname: "eth0" })),
    });
    await succeeds("firewall", "GC", list("c1"));
    expect(await foreign()).toEqual(alone);
    await succeeds("firewall", "GC", { ...list(), name: "another" });
    expect(await foreign()).toEqual(alone);
    // Other errors in the configuration do not matter.
    await succeeds("firewall", "DEL", {
      ...{ cniVersion: "1.1.0", name: "net", type: "firewall", backend: "nonsense", ingressPolicy: 5 },
      ...{ iptablesAdminChainName: ["x"], firewalldZone: 1, prevResult: { ips: "none" } },
    });
    expect(await foreign()).toEqual(before);
  });
});

describe("iptables-nft", () => {
  test("shows weft's rules, and a save and restore changes nothing", async () => {
    await WALLS["docker's chains"]?.();
    const before = await bed.node.succeed("iptables-nft-save", ["-t", "filter"]);
    const configuration = await attach();
    for (const family of ["iptables", "ip6tables"]) {
      const saved = await bed.node.succeed(`${family}-nft-save`, ["-t", "filter"]);
      expect(saved).not.toMatch(/incompatible/);
      expect(
        saved.match(/^-A CNI-FORWARD -[sd] \S+ (-m conntrack --ctstate RELATED,ESTABLISHED )?-j ACCEPT$/gm),
      ).toHaveLength(2);
      await restore(`${family}-nft-restore`, saved);
      expect(rulesOf(await bed.node.succeed(`${family}-nft-save`, ["-t", "filter"]))).toEqual(rulesOf(saved));
    }
    await bed.pod.listen(FORWARDING);
    expect(await reach(bed.pod, OUTSIDE)).toEqual([...OUTSIDE]);
    expect(await reach(outside, POD)).toEqual([]);
    await succeeds("firewall", "CHECK", configuration);
    await succeeds("firewall", "DEL", configuration);
    expect(rulesOf(await bed.node.succeed("iptables-nft-save", ["-t", "filter"]))).toEqual(rulesOf(before));
  });

  test("evaluates the administrator's chain first, whether it was made before the pod or after", async () => {
    await bed.node.succeed("sh", [
      "-c",
      `iptables-nft -N CNI-ADMIN && iptables-nft -A CNI-ADMIN -d ${OUTSIDE[0]} -j DROP`,
    ]);
    const before = await foreign();
    const configuration = await attach();
    expect(await reach(bed.pod, OUTSIDE)).toEqual([OUTSIDE[1]]);
    await bed.node.succeed("iptables-nft", ["-F", "CNI-ADMIN"]);
    expect(await reach(bed.pod, OUTSIDE)).toEqual([...OUTSIDE]);
    await bed.node.succeed("iptables-nft", ["-A", "CNI-ADMIN", "-d", OUTSIDE[0], "-j", "DROP"]);
    expect(await reach(bed.pod, OUTSIDE)).toEqual([OUTSIDE[1]]);
    await succeeds("firewall", "DEL", configuration);
    expect(withoutHandles(await foreign())).toEqual(withoutHandles(before));
  });

  test("uses the configured name for the administrator's chain", async () => {
    await WALLS["iptables' FORWARD with policy DROP"]?.();
    const before = await foreign();
    const configuration = await attach({ iptablesAdminChainName: "SITE-RULES" });
    await bed.node.succeed("iptables-nft", ["-A", "SITE-RULES", "-d", OUTSIDE[0], "-j", "REJECT"]);
    expect(await reach(bed.pod, OUTSIDE)).toEqual([OUTSIDE[1]]);
    // The administrator filled this chain meanwhile: it stays, and nothing else.
    await succeeds("firewall", "DEL", configuration);
    await bed.node.succeed("sh", ["-c", "iptables-nft -F SITE-RULES && iptables-nft -X SITE-RULES"]);
    expect(await foreign()).toEqual(before);
  });
});

const rulesOf = (saved: string) =>
  saved
    .split("\n")
    .filter((line) => /^[:*-]/.test(line))
    .map((line) => line.replace(/\[.*\]/, ""))
    .sort();
const withoutHandles = (objects: unknown[]) =>
  JSON.parse(JSON.stringify(objects).replace(/"handle":\d+/g, '"handle":0'));

test("gives all of many concurrent pods access, and keeps nothing after their DELs", async () => {
  await WALLS["docker's chains"]?.();
  const before = await foreign();
  const pods = Array.from({ length: 24 }, (_, at) => {
    const interfaces = [{ name: `cni${at % 2}` }];
    const ips = [{ address: `10.22.0.${at + 2}/24` }, { address: `fd00:22::${at + 2}/64` }];
    const configuration = firewall(
      { ingressPolicy: "same-bridge" },
      { json: { cniVersion: "1.1.0", interfaces, ips } },
    );
    return { configuration, options: { containerId: `c${at}` } };
  });
  const all = (verb: string) =>
    Promise.all(
      pods.map(async ({ configuration, options }) => {
        const { status, output } = await bed.call(OURS, "firewall", verb, configuration, options);
        expect({ verb, status, output }).toMatchObject({ status: 0 });
      }),
    );
  await all("ADD");
  await all("CHECK");
  const saved = await bed.node.succeed("iptables-nft-save", ["-t", "filter"]);
  expect(saved.match(/-A CNI-FORWARD -[sd] 10\.22\.0\.\d+\/32 .*ACCEPT/g)).toHaveLength(48);
  expect(saved.match(/-A FORWARD .*-j CNI-FORWARD/g)).toHaveLength(1);
  await all("DEL");
  expect(await foreign()).toEqual(before);
  expect(await nft("list", "table", "inet", "weft_firewall")).not.toMatch(/elements/);
});

describe("without rules that drop packets", () => {
  const SITE =
    "table inet site {\nchain forward {\ntype filter hook forward priority 0; iifname lo drop; accept; drop\n}\n}";

  test("only iptables' tables get rules, and DEL leaves what was there before", async () => {
    await restore("nft -f -", SITE);
    const before = await foreign();
    const configuration = await attach();
    const site = await nft("list", "table", "inet", "site");
    expect(site).not.toMatch(/cni:net/);
    for (const family of ["iptables", "ip6tables"])
      expect(await bed.node.succeed(`${family}-nft-save`, ["-t", "filter"])).toMatch(/-A CNI-FORWARD .*-j CNI-ADMIN/);
    await succeeds("firewall", "CHECK", configuration);
    await succeeds("firewall", "STATUS", { ...configuration, prevResult: undefined });
    await succeeds("firewall", "DEL", configuration);
    expect(await foreign()).toEqual(before);
  });

  test("running pods stay connected when FORWARD starts to drop packets", async () => {
    const configuration = await attach();
    await bed.pod.listen(FORWARDING);
    for (const tool of ["iptables-nft", "ip6tables-nft"]) await bed.node.succeed(tool, ["-P", "FORWARD", "DROP"]);
    expect(await reach(bed.pod, OUTSIDE)).toEqual([...OUTSIDE]);
    expect(await reach(outside, POD)).toEqual([]);
    await succeeds("firewall", "CHECK", configuration);
    await succeeds("firewall", "DEL", configuration);
    expect(await bed.node.succeed("iptables-nft-save", ["-t", "filter"])).not.toMatch(/CNI-/);
  });

  test("an administrator can add rules as soon as the first pod exists", async () => {
    const configuration = await attach({ iptablesAdminChainName: "NOMAD-ADMIN" });
    await bed.node.succeed("iptables-nft", ["-I", "NOMAD-ADMIN", "-d", OUTSIDE[0], "-j", "DROP"]);
    await bed.node.succeed("ip6tables-nft", ["-I", "NOMAD-ADMIN", "-d", OUTSIDE[1], "-j", "DROP"]);
    expect(await reach(bed.pod, OUTSIDE)).toEqual([]);
    await succeeds("firewall", "DEL", configuration);
    expect(await bed.node.succeed("iptables-nft", ["-S", "NOMAD-ADMIN"])).toMatch(/-j DROP/);
  });

  test("an administrator's own table named filter is not changed", async () => {
    await restore("nft -f -", "table ip filter {\nchain forward {\ntype filter hook forward priority 0;\n}\n}");
    const before = await nft("list", "table", "ip", "filter");
    const configuration = await attach();
    expect(await nft("list", "table", "ip", "filter")).toBe(before);
    await succeeds("firewall", "CHECK", configuration);
    await succeeds("firewall", "DEL", configuration);
    expect(await nft("list", "table", "ip", "filter")).toBe(before);
  });

  test("rules that iptables-restore recreated are removed with their pod; those of other pods stay", async () => {
    const configuration = await attach();
    const other = await bed.anotherPod("other");
    await attach({}, { containerId: "c2", netns: other.namespace.path });
    for (const family of ["iptables", "ip6tables"]) {
      const saved = await bed.node.succeed(`${family}-nft-save`, ["-t", "filter"]);
      await restore(`${family}-nft-restore`, saved);
    }
    await succeeds("firewall", "CHECK", configuration);
    await succeeds("firewall", "DEL", configuration);
    const saved = await bed.node.succeed("iptables-nft-save", ["-t", "filter"]);
    expect(saved.match(/-A CNI-FORWARD -[sd] \S+/g)?.sort()).toEqual([
      ...["-A CNI-FORWARD -d 10.22.0.3/32", "-A CNI-FORWARD -s 10.22.0.3/32"],
    ]);
  });

  test("a pod without recorded rules is checked if FORWARD drops packets, and DEL leaves no trace", async () => {
    const configuration = await attach();
    for (const family of ["4", "6"]) await nft("flush", "set", "inet", "weft_firewall", `rule-handles${family}`);
    await bed.node.succeed("iptables-nft", ["-D", "CNI-FORWARD", "-s", POD[0], "-j", "ACCEPT"]);
    await succeeds("firewall", "CHECK", configuration);
    await bed.node.succeed("iptables-nft", ["-P", "FORWARD", "DROP"]);
    expect((await bed.call(OURS, "firewall", "CHECK", configuration)).json).toMatchObject({
      msg: expect.stringMatching(/missing: nft add rule ip filter CNI-FORWARD ip saddr 10\.22\.0\.2/),
    });
    await succeeds("firewall", "DEL", configuration);
    expect(await bed.node.succeed("iptables-nft-save", ["-t", "filter"])).not.toMatch(/CNI-/);
  });

  test("CHECK fails if a recorded rule is missing", async () => {
    const configuration = await attach();
    await bed.node.succeed("ip6tables-nft", ["-F", "CNI-FORWARD"]);
    expect((await bed.call(OURS, "firewall", "CHECK", configuration)).status).toBe(1);
  });
});

describe("legacy iptables", () => {
  const TOOLS = ["iptables-legacy", "ip6tables-legacy"] as const;
  const drop = async () => {
    for (const tool of TOOLS) await bed.node.succeed(tool, ["-P", "FORWARD", "DROP"]);
  };
  const saved = async () => (await Promise.all(TOOLS.map((tool) => bed.node.succeed(`${tool}-save`)))).join("");

  test("gets the pods' rules if its FORWARD drops packets, and loses them with the pods", async () => {
    await drop();
    const before = rulesOf(await saved());
    const configuration = await attach();
    await bed.pod.listen(FORWARDING);
    expect(await reach(bed.pod, OUTSIDE)).toEqual([...OUTSIDE]);
    expect(await reach(outside, POD)).toEqual([]);
    await succeeds("firewall", "CHECK", configuration);
    const held = rulesOf(await saved());
    await bed.call(OURS, "firewall", "ADD", configuration);
    expect(rulesOf(await saved())).toEqual(held);

    await bed.node.succeed("iptables-legacy", ["-D", "CNI-FORWARD", "-s", POD[0], "-j", "ACCEPT"]);
    expect((await bed.call(OURS, "firewall", "CHECK", configuration)).json).toMatchObject({
      msg: expect.stringMatching(/CNI-FORWARD of iptables-legacy/),
    });
    await succeeds("firewall", "DEL", configuration);
    expect(rulesOf(await saved())).toEqual(before);
  });

  test("gets the administrator's chain too", async () => {
    await drop();
    await attach();
    await bed.node.succeed("iptables-legacy", ["-A", "CNI-ADMIN", "-d", OUTSIDE[0], "-j", "DROP"]);
    expect(await reach(bed.pod, OUTSIDE)).toEqual([OUTSIDE[1]]);
  });

  test("has all rules of many concurrent pods, then none", async () => {
    await drop();
    const before = rulesOf(await saved());
    const pods = Array.from({ length: 12 }, (_, at) => ({
      configuration: firewall(
        {},
        { json: { cniVersion: "1.1.0", interfaces: [{ name: "cni0" }], ips: [{ address: `10.22.0.${at + 2}/24` }] } },
      ),
      options: { containerId: `c${at}` },
    }));
    const all = (verb: string) =>
      Promise.all(
        pods.map(async ({ configuration, options }) => {
          const { status, output } = await bed.call(OURS, "firewall", verb, configuration, options);
          expect({ verb, status, output }).toMatchObject({ status: 0 });
        }),
      );
    await all("ADD");
    expect((await saved()).match(/-A CNI-FORWARD -[sd] 10\.22/g)).toHaveLength(24);
    expect((await saved()).match(/-A FORWARD .*-j CNI-FORWARD/g)).toHaveLength(1);
    await all("DEL");
    expect(rulesOf(await saved())).toEqual(before);
  });

  test("without its programs, ADD fails with a remedy and changes nothing", async () => {
    await drop();
    const added = await bed.call(OURS, "bridge", "ADD", BRIDGE);
    const hidden = (configuration: object) =>
      bed.node.run(
        "unshare",
        [
          "-m",
          "sh",
          "-c",
          'mount -t tmpfs tmpfs /usr/sbin && mount -t tmpfs tmpfs /sbin; exec "$@"',
          "sh",
          `${OURS}/firewall`,
        ],
        JSON.stringify(configuration),
        {
          ...{ CNI_COMMAND: "ADD", CNI_CONTAINERID: "c1", CNI_NETNS: bed.podNamespace.path, CNI_IFNAME: "eth0" },
          ...{ CNI_PATH: OURS, PATH: "/usr/bin:/bin" },
        },
      );
    const before = await nft("list", "ruleset");
    const refused = await hidden(firewall({}, added));
    expect(JSON.parse(refused.stdout)).toMatchObject({
      msg: expect.stringMatching(/table filter of legacy iptables.*install iptables.*"backend": "nftables"/),
    });
    expect(await nft("list", "ruleset")).toBe(before);
    expect((await hidden(firewall({ backend: "nftables" }, added))).status).toBe(0);
  });

  test("gets the rules if the host prefers it, even before it has a table, and nf_tables gets none", async () => {
    const link = "mkdir $0 && for name in iptables ip6tables; do ln -s /usr/sbin/$name-legacy $0/$name; done";
    await bed.node.succeed("sh", ["-c", link, "/var/lib/cni/legacy"]);
    const added = await bed.call(OURS, "bridge", "ADD", BRIDGE);
    const env = {
      ...{ CNI_COMMAND: "ADD", CNI_CONTAINERID: "c1", CNI_NETNS: bed.podNamespace.path, CNI_IFNAME: "eth0" },
      ...{ CNI_PATH: OURS, PATH: "/var/lib/cni/legacy:/usr/sbin:/usr/bin:/sbin:/bin" },
    };
    expect(await bed.call(OURS, "firewall", "ADD", firewall({}, added), { env })).toMatchObject({ status: 0 });
    await drop();
    expect(await reach(bed.pod, OUTSIDE)).toEqual([...OUTSIDE]);
    expect(JSON.stringify(await foreign())).not.toMatch(/CNI-FORWARD/);
  });
});

describe("with the reference plugin", () => {
  const call = (bin: string, verb: string, input: object, options: object = {}) =>
    bed.call(bin, "firewall", verb, input, options);

  test.each(["iptables-nft", "iptables-legacy"])(
    "an attachment of the reference passes CHECK, rules in %s",
    async (program) => {
      const link =
        "mkdir $0 && for name in iptables ip6tables; do ln -s /usr/sbin/$(echo $1 | sed s/iptables/$name/) $0/$name; done";
      await bed.node.succeed("sh", ["-c", link, "/var/lib/cni/programs", program]);
      const added = await bed.call(OURS, "bridge", "ADD", BRIDGE);
      const configuration = firewall({}, added);
      const env = {
        ...{ CNI_COMMAND: "ADD", CNI_CONTAINERID: "c1", CNI_NETNS: bed.podNamespace.path, CNI_IFNAME: "eth0" },
        ...{ CNI_PATH: REFERENCE, PATH: "/var/lib/cni/programs:/usr/sbin:/usr/bin:/sbin:/bin" },
      };
      expect(await bed.call(REFERENCE, "firewall", "ADD", configuration, { env })).toMatchObject({ status: 0 });
      await succeeds("firewall", "CHECK", configuration);
      await bed.node.succeed(program, ["-D", "CNI-FORWARD", "-s", POD[0], "-j", "ACCEPT"]);
      expect((await call(OURS, "CHECK", configuration)).json).toMatchObject({
        msg: expect.stringMatching(/neither table inet weft_firewall nor CNI-FORWARD/),
      });
    },
  );

  test("CHECK and DEL of the reference work for weft's attachments", async () => {
    const configuration = await attach();
    expect(await call(REFERENCE, "CHECK", configuration)).toMatchObject({ status: 0 });
    expect(await call(REFERENCE, "DEL", configuration)).toMatchObject({ status: 0 });
    for (const family of ["iptables", "ip6tables"])
      expect(await bed.node.succeed(`${family}-nft-save`, ["-t", "filter"])).not.toMatch(/-A CNI-FORWARD -[sd]/);
  });

  test("same-bridge separates the reference's pods from weft's until one side has none", async () => {
    const policy = { ingressPolicy: "same-bridge" };
    const first = await bed.call(OURS, "bridge", "ADD", BRIDGE);
    const theirs = firewall(policy, first);
    expect(await call(REFERENCE, "ADD", theirs)).toMatchObject({ status: 0 });
    const stranger = await bed.anotherPod("stranger");
    const far = { containerId: "c3", netns: stranger.namespace.path };
    const ipam = { type: "host-local", ranges: [[{ subnet: "10.23.0.0/24" }]] };
    const ours = await attach({ ...policy, name: "net2" }, far, { ...BRIDGE, name: "net2", bridge: "cni1", ipam });
    await bed.pod.listen(FORWARDING);
    await stranger.inside.listen(FORWARDING);
    expect(await reach(bed.pod, ["10.23.0.2", ...OUTSIDE])).toEqual([...OUTSIDE]);
    expect(await reach(stranger.inside, [POD[0], OUTSIDE[0]])).toEqual([OUTSIDE[0]]);
    // Another pod of weft is added and removed, and nothing changes.
    const other = await bed.anotherPod("other");
    const near = { containerId: "c4", netns: other.namespace.path };
    const second = await attach({ ...policy, name: "net2" }, near, { ...BRIDGE, name: "net2", bridge: "cni1", ipam });
    await succeeds("firewall", "DEL", second, near);
    expect(await reach(bed.pod, ["10.23.0.2"])).toEqual([]);
    await succeeds("firewall", "DEL", theirs);
    await succeeds("firewall", "CHECK", ours, far);
    await succeeds("firewall", "DEL", ours, far);
    expect(await nft("list", "table", "inet", "weft_firewall")).not.toMatch(/elements/);
  });
});

test.each([
  [{ backend: "iptables" }, /^firewall: backend "iptables": weft writes the same rules by nftables/],
  [{ backend: "ebpf" }, /^firewall: backend "ebpf" is unknown/],
])("accepts %j with one line on standard error", async (more, line) => {
  const added = await bed.call(OURS, "bridge", "ADD", BRIDGE);
  for (const tool of ["iptables-nft", "ip6tables-nft"]) await bed.node.succeed(tool, ["-P", "FORWARD", "DROP"]);
  const configuration = firewall(more, added);
  const { status, stderr } = await bed.node.run(`${OURS}/firewall`, [], JSON.stringify(configuration), {
    ...{ CNI_COMMAND: "ADD", CNI_CONTAINERID: "c1", CNI_NETNS: bed.podNamespace.path, CNI_IFNAME: "eth0" },
    ...{ CNI_PATH: OURS, PATH: "/usr/sbin:/usr/bin:/sbin:/bin" },
  });
  expect([status, stderr.trim().split("\n").length]).toEqual([0, 1]);
  expect(stderr).toMatch(line);
  expect(await reach(bed.pod, OUTSIDE)).toEqual([...OUTSIDE]);
  await succeeds("firewall", "CHECK", configuration);
  await succeeds("firewall", "DEL", configuration);
});

describe("ingressPolicy", () => {
  const second = {
    ...BRIDGE,
    name: "net2",
    bridge: "cni1",
    ipam: { type: "host-local", ranges: [[{ subnet: "10.23.0.0/24" }]] },
  };

  async function twoBridges(policy: string | undefined) {
    const more = policy === undefined ? {} : { ingressPolicy: policy };
    const first = await attach(more);
    const neighbour = await bed.anotherPod("neighbour");
    const near = { containerId: "c2", netns: neighbour.namespace.path };
    await attach(more, near);
    const stranger = await bed.anotherPod("stranger");
    const far = { containerId: "c3", netns: stranger.namespace.path };
    const strange = await attach({ ...more, name: "net2" }, far, second);
    for (const inside of [neighbour.inside, stranger.inside]) await inside.listen(FORWARDING);
    const reached = () => reach(bed.pod, ["10.22.0.3", "10.23.0.2", ...OUTSIDE]);
    return { first, strange, far, near, reached };
  }

  test("open: all pods reach each other", async () => {
    const { reached } = await twoBridges("open");
    expect(await reached()).toEqual(["10.22.0.3", "10.23.0.2", ...OUTSIDE]);
  });

  test("isolated: no pod of a bridge with a policy is reached, even from the same bridge", async () => {
    const { first, reached } = await twoBridges("isolated");
    expect(await reached()).toEqual([...OUTSIDE]);
    await succeeds("firewall", "CHECK", first);
    const port = (first.prevResult as { interfaces: { name: string }[] }).interfaces[1]?.name ?? "";
    await bed.node.succeed("bridge", ["link", "set", "dev", port, "isolated", "off"]);
    expect((await bed.call(OURS, "firewall", "CHECK", first)).json).toMatchObject({
      msg: expect.stringMatching(/bridge port veth[0-9a-f]{8} is not isolated/),
    });
  });

  test("same-bridge: pods of other bridges are not reached until the bridge's last pod is removed", async () => {
    const { first, strange, far, reached } = await twoBridges("same-bridge");
    expect(await reached()).toEqual(["10.22.0.3", ...OUTSIDE]);
    await succeeds("firewall", "CHECK", first);
    await nft("delete", "element", "inet", "weft_firewall", "bridges", "{", "cni0", "}");
    expect((await bed.call(OURS, "firewall", "CHECK", first)).status).toBe(1);
    await bed.call(OURS, "firewall", "ADD", first);
    expect(await reached()).toEqual(["10.22.0.3", ...OUTSIDE]);
    await succeeds("firewall", "DEL", strange, far);
    expect(await reached()).toEqual(["10.22.0.3", "10.23.0.2", ...OUTSIDE]);
  });
});

/** A separate root file system with firewalld, so that firewalld is not installed and nothing starts on the machine. */
const ROOT = resolve(".cache/runtimes/root");
const hasFirewalld = existsSync(`${ROOT}/usr/sbin/firewalld`);
if (!hasFirewalld) {
  process.stderr.write(
    `firewalld live tests skipped: ${ROOT} has no firewalld, which hack/setup runtimes puts there (not into the emulated ` +
      "machine); plugins/firewall/firewalld.test.ts plays recorded answers\n",
  );
}
/** In the node's own mount namespace: files that firewalld writes disappear with the node. */
const MOUNTS =
  `cd ${ROOT} && mkdir -p proc dev sys run var/log var/lib/cni && mount -t proc proc proc && mount --rbind /dev dev && ` +
  "mount --rbind /sys sys && mount -t tmpfs tmpfs run && mount -t tmpfs tmpfs var/log && mount --bind /var/lib/cni var/lib/cni";

/** A bus for this node only. */
const BUS = `<busconfig><type>system</type><listen>unix:path=/var/lib/cni/bus</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/><allow user="*"/></policy></busconfig>`;

describeWhere(hasFirewalld)("firewalld", () => {
  const env = { DBUS_SYSTEM_BUS_ADDRESS: "unix:path=/var/lib/cni/bus" };
  const inBackground = (command: string) =>
    bed.node.run("sh", ["-c", `${command} >/dev/null 2>&1 </dev/null & echo $! >>/var/lib/cni/pids`], "", {
      ...env,
      PATH: "/usr/sbin:/usr/bin:/sbin:/bin",
    });
  const call = (verb: string, input: object) =>
    bed.call(OURS, "firewall", verb, input, {
      env: {
        ...{ ...env, CNI_COMMAND: verb, CNI_CONTAINERID: "c1", CNI_NETNS: bed.podNamespace.path, CNI_IFNAME: "eth0" },
        CNI_PATH: OURS,
      },
    });
  const control = async (...words: string[]) =>
    (
      await bed.node.run("chroot", [ROOT, "firewall-cmd", ...words], "", { ...env, PATH: "/usr/sbin:/usr/bin:/bin" })
    ).stdout.trim();

  beforeEach(async () => {
    await bed.node.succeed("sh", ["-c", `cat >/var/lib/cni/bus.conf <<'END'\n${BUS}\nEND`]);
    await bed.node.succeed("sh", ["-c", MOUNTS]);
    await inBackground(`exec chroot ${ROOT} dbus-daemon --config-file=/var/lib/cni/bus.conf --nofork --nopidfile`);
  });
  afterEach(() => bed.node.run("sh", ["-c", "kill $(cat /var/lib/cni/pids)"]));

  async function start(): Promise<void> {
    await inBackground(`exec chroot ${ROOT} firewalld --nofork --nopid --system-config /var/lib/cni/firewalld`);
    await eventually(async () => expect(await control("--state")).toBe("running"), 20_000);
  }

  test("is an error if it is configured and does not run", async () => {
    const added = await bed.call(OURS, "bridge", "ADD", BRIDGE);
    const refused = await call("ADD", firewall({ backend: "firewalld" }, added));
    expect(refused.json).toMatchObject({ code: 11, msg: expect.stringMatching(/firewalld does not run/) });
    expect(await nft("list", "ruleset")).toBe("");
    expect(await call("ADD", firewall({}, added))).toMatchObject({ status: 0 });
    expect(await call("DEL", firewall({ backend: "firewalld" }, added))).toMatchObject({ status: 0 });
  });

  test("gets the addresses in the zone if it runs, and DEL removes them", async () => {
    await start();
    const added = await bed.call(OURS, "bridge", "ADD", BRIDGE);
    expect(await reach(bed.pod, OUTSIDE)).toEqual([]);
    for (const [more, zone] of [
      [{}, "trusted"],
      [{ backend: "firewalld", firewalldZone: "internal" }, "internal"],
    ] as const) {
      const configuration = firewall(more, added);
      expect(await call("ADD", configuration)).toMatchObject({ status: 0, json: added.json });
      expect(await control(`--zone=${zone}`, "--list-sources")).toBe("10.22.0.2/32 fd00:22::2/128");
      expect(JSON.stringify(await foreign())).not.toMatch(/cni:net/);
      expect(await call("ADD", configuration)).toMatchObject({ status: 0 });
      expect(await call("CHECK", configuration)).toMatchObject({ status: 0 });
      if (zone === "trusted") {
        await bed.pod.listen(FORWARDING);
        expect(await reach(bed.pod, OUTSIDE)).toEqual([...OUTSIDE]);
      }
      await control(`--zone=${zone}`, "--remove-source=10.22.0.2/32");
      expect((await call("CHECK", configuration)).json).toMatchObject({
        msg: expect.stringMatching(/10\.22\.0\.2 not in/),
      });
      // Without prevResult, the addresses are read from weft's table.
      expect(await call("DEL", { ...configuration, prevResult: undefined })).toMatchObject({ status: 0, output: "" });
      expect(await control(`--zone=${zone}`, "--list-sources")).toBe("");
      expect(JSON.stringify(await foreign())).not.toMatch(/10\.22\.0\.2|fd00:22::2/);
    }
  }, 60_000);

  test("without the zone, ADD fails and changes nothing", async () => {
    await start();
    const added = await bed.call(OURS, "bridge", "ADD", BRIDGE);
    const refused = await call("ADD", firewall({ firewalldZone: "nowhere" }, added));
    expect(refused.json).toMatchObject({ msg: expect.stringMatching(/INVALID_ZONE: nowhere/) });
    expect(await nft("list", "table", "inet", "weft_firewall")).not.toMatch(/elements/);
  }, 60_000);

  test("is not used with backend nftables: its chains get weft's rules", async () => {
    await start();
    const added = await bed.call(OURS, "bridge", "ADD", BRIDGE);
    const before = await foreign();
    const configuration = firewall({ backend: "nftables" }, added);
    expect(await call("ADD", configuration)).toMatchObject({ status: 0 });
    expect(await control("--zone=trusted", "--list-sources")).toBe("");
    expect(await reach(bed.pod, OUTSIDE)).toEqual([...OUTSIDE]);
    expect(await call("DEL", configuration)).toMatchObject({ status: 0 });
    expect(await foreign()).toEqual(before);
  }, 60_000);
});

test.each([
  [{ backend: 1 }, 7, /backend/],
  [{ ingressPolicy: "closed" }, 7, /ingressPolicy: .*"same-bridge"/],
  [
    { ingressPolicy: "same-bridge", prevResult: { cniVersion: "1.1.0", ips: [{ address: "10.22.0.2/24" }] } },
    7,
    /names no bridge/,
  ],
  [{ iptablesAdminChainName: "two words" }, 7, /iptablesAdminChainName/],
  [{ prevResult: undefined }, 7, /prevResult/],
  [{ cniVersion: "0.3.1" }, 1, /0\.3\.1/],
])("rejects %j with code %i, and changes nothing", async (more, code, message) => {
  const prevResult = { cniVersion: "1.1.0", interfaces: [{ name: "cni0" }], ips: [{ address: "10.22.0.2/24" }] };
  const answer = await bed.call(OURS, "firewall", "ADD", { ...firewall({}, { json: prevResult }), ...more });
  expect(answer.json).toMatchObject({ code, msg: expect.stringMatching(message) });
  expect(await nft("list", "ruleset")).toBe("");
});
