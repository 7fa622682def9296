/**
 * Seven namespaces, in both families:
 *
 *     client ─┐                  ┌─ outside (clients outside the cluster)
 *     pods ───┤ node (under test)┼─ other (another node) ─ remote (its pods)
 *                                └─ beyond (answers for all other addresses)
 *
 * `client` and `pods` hold the node's pods: the clients and the servers. A pod that connects to itself must leave its
 * namespace. The placement of addresses changes with each case (`placement.ts`); links and routes between hosts stay.
 */
import type { Cleanup } from "../../live/harness/cleanup.ts";
import { run, succeed } from "../../live/harness/command.ts";
import { Inside } from "../../live/harness/inside.ts";
import { makeNamespace, type Namespace } from "../../live/harness/namespace.ts";

export const HOSTS = ["node", "client", "pods", "other", "remote", "outside", "beyond"] as const;
export type Host = (typeof HOSTS)[number];

const LINKS: readonly (readonly [Host, Host])[] = [
  ["node", "client"],
  ["node", "pods"],
  ["node", "other"],
  ["other", "remote"],
  ["node", "outside"],
  ["node", "beyond"],
];

const gateway = (link: number, end: 1 | 2) => ({ 4: `198.18.${link}.${end}`, 6: `fd99:${link}::${end}` }) as const;

/** The addresses of the node's ends: the sources of masqueraded connections. */
export const NODE_LINK_ADDRESSES = LINKS.flatMap(([from], link): string[] =>
  from === "node" ? Object.values(gateway(link, 1)) : [],
);

/** The address of the neighbour on the link from `from` to `to`. */
export function nextHop(from: Host, to: Host, family: 4 | 6): string {
  const link = LINKS.findIndex((ends) => ends.includes(from) && ends.includes(to));
  return gateway(link, LINKS[link]?.[0] === to ? 1 : 2)[family];
}

/** The device in `from` for the link to `to`. */
export const device = (to: Host) => `to-${to}`;

export type Namespaces = Readonly<Record<Host, Namespace>>;
export type Hosts = Readonly<Record<Host, Inside>>;

let beds = 0;

export async function makeTopology(cleanup: Cleanup): Promise<{ namespaces: Namespaces; hosts: Hosts }> {
  const number = ++beds;
  const namespaces = {} as Record<Host, Namespace>;
  for (const host of HOSTS) namespaces[host] = await makeNamespace(`svc${number}-${host}`, cleanup);
  for (const host of HOSTS) await prepare(namespaces[host]);
  for (const [link, [a, b]] of LINKS.entries()) await connect(namespaces, link, a, b);
  const inside = await Promise.all(HOSTS.map(async (host) => [host, await Inside.enter(namespaces[host], cleanup)]));
  return { namespaces, hosts: Object.fromEntries(inside) as Record<Host, Inside> };
}

/**
 * Set before devices exist, so that devices inherit them. Servers may listen at addresses before these are assigned.
 */
const SETTINGS = [
  ...["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"],
  ...["all", "default"].flatMap((scope) => [
    `net.ipv4.conf.${scope}.rp_filter=0`,
    `net.ipv4.conf.${scope}.accept_local=1`,
  ]),
  ...["net.ipv6.conf.all.accept_dad=0", "net.ipv6.conf.default.accept_dad=0"],
  // A reject is an ICMP message, whose rate the kernel limits.
  ...["net.ipv4.icmp_ratelimit=0", "net.ipv6.icmp.ratelimit=0", "net.ipv4.icmp_msgs_per_sec=100000"],
];

async function prepare({ name }: Namespace): Promise<void> {
  // Some settings exist only in later kernels, and some not in every namespace.
  for (const setting of SETTINGS) await run("ip", ["netns", "exec", name, "sysctl", "-qw", setting]);
}

async function connect(namespaces: Namespaces, link: number, a: Host, b: Host): Promise<void> {
  const [from, to] = [namespaces[a].name, namespaces[b].name];
  const peer = ["peer", "name", device(a), "netns", to];
  await succeed("ip", ["-n", from, "link", "add", device(b), "type", "veth", ...peer]);
  for (const [namespace, own, end] of [
    [from, device(b), 1],
    [to, device(a), 2],
  ] as const) {
    const { 4: four, 6: six } = gateway(link, end);
    await succeed("ip", ["-n", namespace, "address", "add", `${four}/24`, "dev", own]);
    await succeed("ip", ["-n", namespace, "address", "add", `${six}/64`, "dev", own, "nodad"]);
    await succeed("ip", ["-n", namespace, "link", "set", own, "up"]);
  }
  // The far end sends all packets to the near one, and the node sends packets with unknown destinations to `beyond`.
  for (const family of [4, 6] as const) {
    const version = `-${family}`;
    await succeed("ip", ["-n", to, version, "route", "add", "default", "via", nextHop(b, a, family)]);
    if (b !== "beyond") continue;
    await succeed("ip", ["-n", from, version, "route", "add", "default", "via", nextHop(a, b, family)]);
  }
}
