/** Attachments by the reference plugins, deleted by weft's: nothing of them stays in nf_tables. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { OURS, PluginBed, REFERENCE } from "./harness/plugin-bed.ts";

type Backend = "iptables" | "nftables";

/** The folder in which the programs named iptables are the legacy ones. */
const LEGACY = "/var/lib/cni/legacy";

let bed: PluginBed;
beforeEach(async () => {
  bed = await PluginBed.make();
});
afterEach(() => bed.close());

const plugins = (backend: Backend) => ({
  bridge: {
    ...{ cniVersion: "1.0.0", name: "net", type: "bridge", bridge: "cni0", isGateway: true },
    ...{ ipMasq: true, ipMasqBackend: backend, macspoofchk: true },
    ipam: { type: "host-local", ranges: [[{ subnet: "10.22.0.0/24" }], [{ subnet: "fd00:22::/64" }]] },
  },
  portmap: {
    ...{ cniVersion: "1.0.0", name: "net", type: "portmap", backend },
    runtimeConfig: {
      portMappings: [
        { hostPort: 8080, containerPort: 80, protocol: "tcp" },
        { hostPort: 8081, containerPort: 81, protocol: "udp", hostIP: "127.0.0.1" },
      ],
    },
  },
  firewall: { cniVersion: "1.0.0", name: "net", type: "firewall", ingressPolicy: "same-bridge" },
});
type Name = keyof ReturnType<typeof plugins>;

interface Attached {
  readonly options: object;
  readonly configurations: Record<Name, object>;
}

/** The ADD of a chain of these reference plugins. */
async function attach(
  backend: Backend,
  chain: readonly Name[],
  containerId = "c1",
  path = "/usr/sbin",
): Promise<Attached> {
  const { namespace } = await bed.anotherPod(containerId);
  const options = { containerId, netns: namespace.path };
  const env = {
    ...{ CNI_COMMAND: "ADD", CNI_CONTAINERID: containerId, CNI_NETNS: namespace.path, CNI_IFNAME: "eth0" },
    ...{ CNI_PATH: REFERENCE, PATH: `${path}:/usr/sbin:/usr/bin:/sbin:/bin` },
  };
  const own = plugins(backend);
  const added = await bed.call(REFERENCE, "bridge", "ADD", own.bridge, { env });
  expect(added).toMatchObject({ status: 0 });
  const configurations = {
    bridge: { ...own.bridge, prevResult: added.json },
    portmap: { ...own.portmap, prevResult: added.json },
    firewall: { ...own.firewall, prevResult: added.json },
  };
  for (const name of chain) {
    if (name === "bridge") continue;
    expect(await bed.call(REFERENCE, name, "ADD", configurations[name], { env })).toMatchObject({ status: 0 });
  }
  return { options, configurations };
}

async function detach({ options, configurations }: Attached, chain: readonly Name[]): Promise<void> {
  for (const name of [...chain].reverse()) {
    expect(await bed.call(OURS, name, "DEL", configurations[name], options)).toMatchObject({ status: 0, output: "" });
  }
}

/** Tables, chains and rules, without those that iptables itself makes, and without counters. */
async function rules(): Promise<unknown[]> {
  const { nftables } = JSON.parse(await bed.node.succeed("nft", ["-j", "list", "ruleset"])) as {
    nftables: Record<string, { name?: string; table?: string; handle?: number }>[];
  };
  return nftables
    .flatMap((entry) => Object.entries(entry))
    .filter(([kind]) => kind === "chain" || kind === "rule" || kind === "table")
    .filter(
      ([kind, { name, table }]) => !(kind === "table" && /^(nat|filter)$/.test(name ?? "") && table === undefined),
    )
    .filter(([, { name }]) => !/^(PREROUTING|INPUT|FORWARD|OUTPUT|POSTROUTING)$/.test(name ?? ""))
    .map((entry) => JSON.parse(JSON.stringify(entry).replace(/"(packets|bytes|handle)":\d+/g, '"$1":0')));
}

describe.each<Backend>(["iptables", "nftables"])("state of the reference plugins in %s", (backend) => {
  const CHAIN: Name[] = ["bridge", "portmap", "firewall"];

  test("is removed with the attachment, and the shared part with the last one", async () => {
    const first = await attach(backend, CHAIN);
    const alone = await rules();
    expect(alone).not.toEqual([]);
    const second = await attach(backend, CHAIN, "c2");
    expect(await rules()).not.toEqual(alone);
    await detach(second, CHAIN);
    expect(await rules()).toEqual(alone);
    await detach(first, CHAIN);
    expect(await rules()).toEqual([]);
  });

  test("passes CHECK of portmap while it exists, in both families, even if weft has ports of other pods", async () => {
    const { configurations, options } = await attach(backend, ["bridge", "portmap"]);
    const check = () => bed.call(OURS, "portmap", "CHECK", configurations.portmap, options);
    expect(await check()).toMatchObject({ status: 0, output: "" });
    const { portMappings } = plugins(backend).portmap.runtimeConfig;
    const other = {
      ...configurations.portmap,
      runtimeConfig: { portMappings: [{ ...portMappings[0], hostPort: 9090 }] },
    };
    expect(await bed.call(OURS, "portmap", "ADD", other, { containerId: "c9" })).toMatchObject({ status: 0 });
    expect(await check()).toMatchObject({ status: 0, output: "" });
    const stranger = await bed.call(OURS, "portmap", "CHECK", configurations.portmap, {
      ...options,
      containerId: "c8",
    });
    expect(stranger.json).toMatchObject({ msg: /ports are not mapped/ });
    const chain = backend === "iptables" ? ["nat", "CNI-HOSTPORT-DNAT"] : ["cni_hostport", "hostports"];
    await bed.node.succeed("nft", ["flush", "chain", "ip6", ...chain]);
    expect((await check()).json.msg).toMatch(/ports are not mapped/);
  });

  test("of a single plugin is removed by weft's plugin of that name", async () => {
    const attached = await attach(backend, CHAIN);
    const before = await rules();
    await detach(attached, ["firewall"]);
    expect(JSON.stringify(await rules())).not.toMatch(/CNI-(FORWARD|ADMIN|ISOLATION)/);
    expect((await rules()).length).toBeLessThan(before.length);
  });

  test("of invalid attachments is removed by GC if it names its owner", async () => {
    await attach(backend, ["bridge"]);
    const kept = await rules();
    await attach(backend, ["bridge"], "c2");
    const gc = (network: string, ids: readonly string[]) =>
      bed.call(OURS, "bridge", "GC", {
        ...{ ...plugins(backend).bridge, cniVersion: "1.1.0", name: network },
        "cni.dev/valid-attachments": ids.map((containerID) => ({ containerID, ifname: "eth0" })),
      });
    const withoutSpoofCheck = (list: unknown[]) => list.filter((entry) => !JSON.stringify(entry).includes('"bridge"'));
    expect(await gc("other", [])).toMatchObject({ status: 0 });
    expect(await gc("net", ["c1"])).toMatchObject({ status: 0 });
    expect(withoutSpoofCheck(await rules())).toEqual(withoutSpoofCheck(kept));
    expect(await gc("net", [])).toMatchObject({ status: 0 });
    expect(withoutSpoofCheck(await rules())).toEqual([]);
  });
});

describe("state of the reference plugins in legacy iptables", () => {
  const CHAIN: Name[] = ["bridge", "portmap", "firewall"];
  const saved = async () => {
    const texts = await Promise.all(
      ["iptables-legacy-save", "ip6tables-legacy-save"].map((tool) => bed.node.succeed(tool)),
    );
    return texts
      .join("")
      .split("\n")
      .filter((line) => /CNI/.test(line))
      .map((line) => line.replace(/\[.*/, ""));
  };

  beforeEach(async () => {
    const link = "for name in iptables ip6tables; do ln -s /usr/sbin/$name-legacy $0/$name; done";
    await bed.node.succeed("sh", ["-c", `mkdir -p $0 && ${link}`, LEGACY]);
  });

  test("is removed by the host's own programs, and the shared part with the last attachment", async () => {
    const first = await attach("iptables", CHAIN, "c1", LEGACY);
    const alone = await saved();
    expect(alone).not.toEqual([]);
    const second = await attach("iptables", CHAIN, "c2", LEGACY);
    expect(await saved()).not.toEqual(alone);
    await detach(second, CHAIN);
    expect(await saved()).toEqual(alone);
    await detach(first, CHAIN);
    expect(await saved()).toEqual([]);
  });

  test("passes CHECK of portmap while it exists, in both families", async () => {
    const { configurations, options } = await attach("iptables", ["bridge", "portmap"], "c1", LEGACY);
    const check = () => bed.call(OURS, "portmap", "CHECK", configurations.portmap, options);
    expect(await check()).toMatchObject({ status: 0, output: "" });
    await bed.node.succeed("ip6tables-legacy", ["-t", "nat", "-F", "CNI-HOSTPORT-DNAT"]);
    expect((await check()).json.msg).toMatch(/ports are not mapped/);
  });

  test("causes a warning if these programs are missing", async () => {
    const { configurations, options } = await attach("iptables", CHAIN, "c1", LEGACY);
    const before = await saved();
    const hide = 'mount -t tmpfs tmpfs /usr/sbin && mount -t tmpfs tmpfs /sbin; exec "$@"';
    for (const [name, words] of [
      ["bridge", /legacy iptables.*CNI-[0-9a-f]{24}/],
      ["firewall", /legacy ip6tables.*10\.22\.0\.2 and fd00:22::2 in CNI-FORWARD/],
    ] as const) {
      const { containerId, netns } = options as { containerId: string; netns: string };
      const { status, stdout, stderr } = await bed.node.run(
        "unshare",
        ["-m", "sh", "-c", hide, "sh", `${OURS}/${name}`],
        JSON.stringify(configurations[name]),
        {
          ...{ CNI_COMMAND: "DEL", CNI_CONTAINERID: containerId, CNI_NETNS: netns, CNI_IFNAME: "eth0" },
          ...{ CNI_PATH: OURS, PATH: "/usr/bin:/bin" },
        },
      );
      expect([status, stdout]).toEqual([0, ""]);
      expect(stderr).toMatch(words);
    }
    expect(await saved()).toEqual(before);
  });
});

test("an administrator's rules in CNI-ADMIN stay, and so does the chain", async () => {
  const attached = await attach("iptables", ["bridge", "firewall"]);
  await bed.node.succeed("iptables-nft", ["-A", "CNI-ADMIN", "-d", "192.0.2.1", "-j", "DROP"]);
  await detach(attached, ["bridge", "firewall"]);
  expect(await bed.node.succeed("iptables-nft", ["-S", "CNI-ADMIN"])).toMatch(/-d 192\.0\.2\.1\/32 -j DROP/);
  expect(await bed.node.succeed("iptables-nft-save", ["-t", "filter"])).not.toMatch(/CNI-FORWARD/);
});

test("chains that other rules use stay", async () => {
  const attached = await attach("iptables", ["bridge", "firewall"]);
  await bed.node.succeed("sh", [
    "-c",
    "iptables-nft -A INPUT -j CNI-ADMIN && iptables-nft -A OUTPUT -d 192.0.2.1 -j CNI-ISOLATION-STAGE-2",
  ]);
  await detach(attached, ["bridge", "firewall"]);
  const saved = await bed.node.succeed("iptables-nft-save", ["-t", "filter"]);
  expect(saved).toMatch(/:CNI-ADMIN/);
  expect(saved).toMatch(/:CNI-ISOLATION-STAGE-2/);
  expect(saved).not.toMatch(/:CNI-FORWARD/);
});
