/**
 * A node in namespaces: two pods on a bridge whose frames pass the node's IP rules, one routed pod, and one namespace
 * that has the addresses of all others. The node's rules are programmed from the test's process.
 */
import { answeredBy } from "../../daemon/core/drivers/ruleset.ts";
import { SYSTEM_CLOCK } from "../../pkg/cluster/clock.ts";
import { type Address, formatAddress, isSameAddress, parseAddress } from "../../pkg/ip/address.ts";
import { EventedNetlink } from "../../pkg/netlink/evented.ts";
import { NftablesPolicies } from "../../pkg/policy/nftables/nftables-policies.ts";
import type { PolicySettings, ProfileCounts, Transaction } from "../../pkg/policy/program.ts";
import type { PolicyChange } from "../../pkg/policy/state.ts";
import type { PolicyTables } from "../../pkg/policy/tables.ts";
import { openKernelSocket } from "../contract/nftables/kernel-socket.ts";
import type { Cleanup } from "../live/harness/cleanup.ts";
import { run, succeed } from "../live/harness/command.ts";
import { compiled } from "../live/harness/compiled.ts";
import { Inside } from "../live/harness/inside.ts";
import { makeNamespace, type Namespace } from "../live/harness/namespace.ts";
import { type Probe, SMALL_WORLD } from "./random-tables.ts";

export const SETTINGS: PolicySettings = { isAudit: false, hasLog: true };

const HOSTS = ["bridged-1", "bridged-2", "routed", "outside"] as const;
export type Host = (typeof HOSTS)[number] | "node";

/** The addresses of pods by their namespace. */
const PODS: Readonly<Record<"bridged-1" | "bridged-2" | "routed", readonly string[]>> = {
  "bridged-1": ["10.244.1.2", "fd00:1::2"],
  "bridged-2": ["10.244.1.3", "fd00:1::3"],
  routed: ["10.244.3.2", "fd00:3::2"],
};
/** The node's addresses on the links of pods and of `outside`. */
const GATEWAYS: Readonly<Record<(typeof HOSTS)[number], readonly string[]>> = {
  "bridged-1": ["10.244.1.1", "fd00:1::1"],
  "bridged-2": ["10.244.1.1", "fd00:1::1"],
  routed: ["10.244.3.1", "fd00:3::1"],
  outside: ["198.18.0.1", "fd99::1"],
};
const OUTSIDE_LINK = ["198.18.0.2", "fd99::2"] as const;
const LINK_LENGTH = { 4: 24, 6: 64 } as const;

/** Addresses of the node that pods may send to. */
export const NODE_ADDRESSES: readonly Address[] = GATEWAYS["bridged-1"].map(parseAddress);

const familyOf = (text: string) => parseAddress(text).family;
const onLink = (text: string) => `${text}/${LINK_LENGTH[familyOf(text)]}`;

const SYSCTLS = [
  ...["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"],
  ...["all", "default"].flatMap((scope) => [`net.ipv4.conf.${scope}.rp_filter=0`]),
  ...["net.ipv6.conf.all.accept_dad=0", "net.ipv6.conf.default.accept_dad=0"],
];

/** Counts packets that the policies let pass, by source port or identifier. The hook's later chains see only those. */
const SEEN = `
table inet seen {
  set ports { type inet_service; flags dynamic; size 65535; }
  set echoes4 { typeof icmp id; flags dynamic; size 65535; }
  set echoes6 { typeof icmpv6 id; flags dynamic; size 65535; }
  chain record {
    meta l4proto { tcp, udp, sctp } add @ports { th sport }
    icmp type echo-request add @echoes4 { icmp id }
    icmpv6 type echo-request add @echoes6 { icmpv6 id }
  }
  chain forward { type filter hook forward priority 20; jump record; }
  chain input { type filter hook input priority 20; jump record; }
  chain output { type filter hook output priority 20; jump record; }
}`;

let beds = 0;

export class ProgramBed {
  readonly namespaces: Readonly<Record<Host, Namespace>>;
  readonly hosts: Readonly<Record<Host, Inside>>;
  readonly netlink: EventedNetlink;
  readonly #sender: string;
  program = new NftablesPolicies();

  private constructor(
    namespaces: Readonly<Record<Host, Namespace>>,
    hosts: Readonly<Record<Host, Inside>>,
    netlink: EventedNetlink,
    sender: string,
  ) {
    this.namespaces = namespaces;
    this.hosts = hosts;
    this.netlink = netlink;
    this.#sender = sender;
  }

  static async make(cleanup: Cleanup): Promise<ProgramBed> {
    const sender = await compiled(new URL("./first-packets.c", import.meta.url), cleanup);
    const number = ++beds;
    const namespaces = {} as Record<Host, Namespace>;
    const hosts = {} as Record<Host, Inside>;
    for (const host of ["node", ...HOSTS] as const) {
      const namespace = await makeNamespace(`pol${number}-${host}`, cleanup);
      namespaces[host] = namespace;
      for (const setting of SYSCTLS) await run("ip", ["netns", "exec", namespace.name, "sysctl", "-qw", setting]);
      hosts[host] = await Inside.enter(namespace, cleanup);
    }
    await connectAll(namespaces, hosts);
    await hosts.node.run("nft", ["-f", "-"], SEEN);
    const netlink = new EventedNetlink(await openKernelSocket(namespaces.node.name), "the node", SYSTEM_CLOCK);
    cleanup.push(() => netlink.close());
    return new ProgramBed(namespaces, hosts, netlink, sender);
  }

  /** Compares with a new program, as a weftd that starts. Returns the number of transactions. */
  async compare(tables: PolicyTables, settings = SETTINGS): Promise<number> {
    this.program = new NftablesPolicies();
    return this.#commit(await answeredBy(this.netlink, this.program.compare(tables, settings)));
  }

  async change(changes: readonly PolicyChange[]): Promise<number> {
    return this.#commit(this.program.change(changes));
  }

  counts(): Promise<readonly ProfileCounts[]> {
    return answeredBy(this.netlink, this.program.counts());
  }

  async #commit(transactions: readonly Transaction[]): Promise<number> {
    for (const transaction of transactions) await this.netlink.commit(transaction);
    return transactions.length;
  }

  async nft(...args: string[]): Promise<string> {
    return this.hosts.node.succeed("nft", args);
  }

  /** Sends each probe with its number. */
  async send(probes: readonly NumberedProbe[]): Promise<void> {
    for (const host of ["node", ...HOSTS] as const) {
      const lines = probes
        .filter(({ from }) => hostOf(from) === host)
        .map(({ from, to, protocol, number, port }) =>
          [formatAddress(from), formatAddress(to), protocol, number, port].join(" "),
        );
      if (lines.length === 0) continue;
      const { status, stderr } = await this.hosts[host].run(this.#sender, [], `${lines.join("\n")}\n`);
      if (status !== 0) throw new Error(`first-packets in ${host}: ${stderr}`);
    }
  }

  /** The numbers of all packets that passed the policies so far. */
  async passed(): Promise<ReadonlySet<number>> {
    const listed = await Promise.all(
      ["ports", "echoes4", "echoes6"].map((set) =>
        this.hosts.node.json<{ nftables: { set?: { elem?: (number | { elem: { val: number } })[] } }[] }>("nft", [
          "-j",
          "list",
          "set",
          "inet",
          "seen",
          set,
        ]),
      ),
    );
    const elements = listed.flatMap(({ nftables }) => nftables.flatMap(({ set }) => set?.elem ?? []));
    return new Set(elements.map((element) => (typeof element === "number" ? element : element.elem.val)));
  }
}

/** A probe with its source port, or the identifier of its echo request. */
export interface NumberedProbe extends Probe {
  readonly number: number;
}

/** The namespace that has the address. */
export function hostOf(address: Address): Host {
  for (const [host, texts] of Object.entries(PODS)) {
    if (texts.some((text) => isSameAddress(parseAddress(text), address))) return host as Host;
  }
  return NODE_ADDRESSES.some((own) => isSameAddress(own, address)) ? "node" : "outside";
}

async function connectAll(
  namespaces: Readonly<Record<Host, Namespace>>,
  hosts: Readonly<Record<Host, Inside>>,
): Promise<void> {
  const ip = (host: Host, ...args: string[]) => hosts[host].succeed("ip", args);
  await ip("node", "link", "add", "br0", "type", "bridge");
  await ip("node", "link", "set", "br0", "up");
  for (const file of ["iptables", "ip6tables"])
    await hosts.node.succeed("sysctl", ["-qw", `net.bridge.bridge-nf-call-${file}=1`]);
  for (const host of HOSTS) {
    const device = `to-${host}`;
    await succeed("ip", [
      ...["-n", namespaces.node.name, "link", "add", device, "type", "veth"],
      ...["peer", "name", "eth0", "netns", namespaces[host].name],
    ]);
    const isBridged = host === "bridged-1" || host === "bridged-2";
    if (isBridged) await ip("node", "link", "set", device, "master", "br0");
    await ip("node", "link", "set", device, "up");
    await ip(host, "link", "set", "eth0", "up");
    const own = host === "outside" ? OUTSIDE_LINK : PODS[host];
    for (const text of own) await ip(host, "address", "add", onLink(text), "dev", "eth0", ...nodad(text));
    for (const text of GATEWAYS[host]) {
      const to = isBridged ? "br0" : device;
      if (host !== "bridged-2") await ip("node", "address", "add", onLink(text), "dev", to, ...nodad(text));
      await ip(host, `-${familyOf(text)}`, "route", "add", "default", "via", text);
    }
  }
  for (const { family, value } of SMALL_WORLD.others) {
    const text = formatAddress({ family, value });
    await ip("outside", "address", "add", text, "dev", "lo", ...nodad(text));
    await ip("node", `-${family}`, "route", "add", text, "via", OUTSIDE_LINK[family === 4 ? 0 : 1]);
  }
}

const nodad = (text: string) => (familyOf(text) === 6 ? ["nodad"] : []);
