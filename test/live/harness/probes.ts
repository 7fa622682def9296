/**
 * The objects in a node's kernel that weftd maintains, as independent tools show them. Omits values that change by
 * themselves (counters, handles) and those that a new device necessarily changes (its index).
 */
import type { Inside } from "./inside.ts";

export interface Probe {
  /** A shell command that prints JSON in one line, or nothing. */
  readonly command: string;
  /** The part of the output to compare. */
  shape(shown: unknown): unknown;
}

type Fields = Readonly<Record<string, unknown>>;
const objects = (shown: unknown): Fields[] => (Array.isArray(shown) ? (shown as Fields[]) : []);
const pick = (from: Fields, ...keys: string[]) => Object.fromEntries(keys.map((key) => [key, from[key]]));
const sorted = (list: readonly unknown[]) => list.map((one) => JSON.stringify(one)).sort();
const isUp = ({ flags }: Fields) => Array.isArray(flags) && flags.includes("UP");
const addresses = (shown: unknown) =>
  sorted(objects(shown).flatMap(({ addr_info: info }) => objects(info).map((one) => pick(one, "local", "prefixlen"))));

const infoOf = (link: Fields, kind: "info_data" | "info_slave_data") =>
  ((link.linkinfo as Fields | undefined)?.[kind] ?? {}) as Fields;

/** The objects of one IP family, with the VTEP over an underlay of that family. */
function probesOf(family: 4 | 6, { vtep, subnet }: { readonly vtep: string; readonly subnet: string }) {
  return {
    ROUTES: {
      command: `ip -j -${family} route show proto 119`,
      shape: (shown) => sorted(objects(shown)),
    },
    /** The kernel's own route to the node's pods. */
    OWN_ROUTE: {
      command: `ip -j -${family} route show ${subnet}`,
      shape: (shown) =>
        sorted(objects(shown).map((route) => pick(route, "dst", "dev", "protocol", "scope", "prefsrc", "metric"))),
    },
    NEIGHBOURS: {
      command: `ip -j -${family} neigh show dev ${vtep} nud permanent`,
      shape: (shown) => sorted(objects(shown).map((entry) => pick(entry, "dst", "lladdr", "state"))),
    },
    FORWARDING: {
      command: `bridge -j fdb show dev ${vtep}`,
      shape: (shown) => sorted(objects(shown).map((entry) => pick(entry, "mac", "dst", "state", "flags"))),
    },
    VTEP: {
      command: `ip -j -d link show ${vtep}`,
      shape: (shown) =>
        objects(shown).map((link) => ({
          ...pick(link, "mtu", "address", "ifalias"),
          up: isUp(link),
          ...pick(infoOf(link, "info_data"), "id", "local", "local6", "link", "port", "learning"),
        })),
    },
    VTEP_ADDRESSES: { command: `ip -j -${family} address show dev ${vtep} scope global`, shape: addresses },
    BRIDGE_ADDRESSES: { command: `ip -j -${family} address show dev cni0 scope global`, shape: addresses },
  } satisfies Record<string, Probe>;
}

export const IPV4 = probesOf(4, { vtep: "flannel.1", subnet: "10.244.1.0/24" });
export const IPV6 = probesOf(6, { vtep: "flannel-v6.1", subnet: "fd00:10:244:1::/64" });

export const BRIDGE: Probe = {
  command: "ip -j link show cni0",
  shape: (shown) => objects(shown).map((link) => ({ address: link.address, up: isUp(link) })),
};

export const PORTS: Probe = {
  command: "ip -j -d link show type veth",
  shape: (shown) =>
    objects(shown)
      .filter(({ ifalias }) => String(ifalias).startsWith("cni:"))
      .map((link) => ({
        ...pick(link, "ifname", "ifalias", "master"),
        up: isUp(link),
        hairpin: infoOf(link, "info_slave_data").hairpin,
      })),
};

/** Routes to pods that have a link each. */
export const POD_ROUTES: Probe = {
  command: "ip -j -4 route show root 10.244.1.0/24",
  shape: (shown) => sorted(objects(shown).map((route) => pick(route, "dst", "dev", "scope"))),
};

/** The addresses on the host's ends of those links. */
export const POD_GATEWAYS: Probe = { command: "ip -j -4 address show to 10.244.1.1/32", shape: addresses };

export const BRIDGE_FILTER: Probe = {
  command: "cat /proc/sys/net/bridge/bridge-nf-call-iptables",
  shape: (shown) => shown,
};

export const RULES: Probe = {
  command: "nft -j list table inet weft",
  shape: (shown) => withoutHandles(((shown as Fields).nftables as Fields[] | undefined) ?? []),
};

function withoutHandles(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutHandles);
  if (typeof value !== "object" || value === null) return value;
  const kept = Object.entries(value).filter(([key]) => key !== "handle" && key !== "metainfo" && key !== "counter");
  return Object.fromEntries(kept.map(([key, inner]) => [key, withoutHandles(inner)]));
}

export const SETTINGS: Probe = {
  command:
    "cd /proc/sys/net; echo [$(cat ipv4/ip_forward), $(cat ipv4/conf/eth0/forwarding), $(cat ipv4/conf/cni0/forwarding), $(cat ipv6/conf/all/forwarding)]",
  shape: (shown) => shown,
};

/** Runs all commands in one shell. A command that fails (no such device) yields nothing. */
export async function look(inside: Inside, probes: readonly Probe[]): Promise<unknown[]> {
  const script = probes.map(({ command }) => `{ ${command}; } 2>/dev/null; echo; echo --`).join("; ");
  const answers = (await inside.succeed("sh", ["-c", script])).split("\n--\n");
  return probes.map(({ shape }, at) => shape(JSON.parse(answers[at]?.trim() || "[]")));
}
