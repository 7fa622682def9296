/** Checks of the kernel: version, features, settings and limits. */
import { BACKENDS, backendOf } from "../../../pkg/backend/backends.ts";
import type { Finding } from "../../../pkg/backend/inspection.ts";
import { BRIDGE_CALLS, FORWARDING, SETTING_ACCEPT_RA, SETTING_FORWARDING } from "../../../pkg/footprint.ts";
import type { Family } from "../../../pkg/ip/address.ts";
import { contains, networkOf } from "../../../pkg/ip/prefix.ts";
import type { SysctlName } from "../../../pkg/kernel/sysctl.ts";
import { RTPROT_RA } from "../../../pkg/netlink/route.ts";
import type { Facts } from "../facts.ts";
import type { Check } from "../finding.ts";

const OLDEST = [5, 10] as const;

export const kernelVersion: Check = {
  name: "kernel-version",
  group: "kernel",
  about: "the kernel is 5.10 or newer",
  judge({ kernel: { release } }) {
    const [major = 0, minor = 0] = release.split(".").map((part) => Number.parseInt(part, 10));
    if (major > OLDEST[0] || (major === OLDEST[0] && minor >= OLDEST[1])) return [];
    return [
      {
        severity: "error",
        seen: `the kernel is ${release}`,
        why: `weft needs ${OLDEST.join(".")} or newer: older kernels lack functions of nf_tables and netlink`,
        advice: "upgrade the node's kernel",
      },
    ];
  },
};

export const kernelFeatures: Check = {
  name: "kernel-features",
  group: "kernel",
  about: "the kernel supports the devices and rules that weft needs",
  judge({ kernel: { missingKinds, hasNetfilter }, table, attachment }) {
    const backend = table === undefined ? BACKENDS[0] : backendOf(table.conf.backend);
    const needed = [
      ...(attachment.bridge === undefined ? [] : ["bridge"]),
      "veth",
      ...(backend?.inspection.kinds ?? []),
    ];
    const modules = [...needed.filter((kind) => missingKinds.includes(kind)), ...(hasNetfilter ? [] : ["nf_tables"])];
    return modules.map((module) => ({
      severity: "error",
      seen: `the kernel does not support ${module}`,
      why:
        module === "nf_tables"
          ? "weft programs its rules with nf_tables"
          : "weft needs such devices to attach pods and to connect nodes",
      run: `modprobe ${module}`,
    }));
  },
};

export const bridgeFilter: Check = {
  name: "bridge-filter",
  group: "kernel",
  about: "packets between pods on the bridge pass the IP rules (br_netfilter)",
  judge({ sysctl, families, attachment }) {
    if (attachment.bridge === undefined) return [];
    const why = "a pod cannot reach a Service if the endpoint is a pod on the same bridge";
    return [...families].flatMap((family): Finding[] => {
      const name = BRIDGE_CALLS[family];
      const value = sysctl(name);
      if (value === undefined) {
        const seen = "the kernel module br_netfilter is not loaded";
        return [{ severity: "error", seen, why, run: "modprobe br_netfilter" }];
      }
      return value === "1" ? [] : [wrong(name, value, "1", why)];
    });
  },
};

export const ipForwarding: Check = {
  name: "ip-forwarding",
  group: "kernel",
  about: "the kernel forwards packets between pods and other nodes",
  judge(facts) {
    const { sysctl, families } = facts;
    const devices = [underlayName(facts), facts.attachment.bridge, ...deviceNames(facts)].filter(
      (name) => name !== undefined,
    );
    const names: SysctlName[] = [
      ...(families.has(4) ? [FORWARDING[4]] : []),
      ...(families.has(4) ? devices.map((device) => ["net", "ipv4", "conf", device, SETTING_FORWARDING]) : []),
      ...(families.has(6) ? [FORWARDING[6]] : []),
    ];
    const off = names.filter((name) => sysctl(name) === "0");
    // The general switch sets all devices, so setting it repairs their settings, too.
    const general = off.filter((name) => Object.values(FORWARDING).includes(name));
    const why = "the kernel does not forward packets from pods to other nodes";
    const isGeneral = (name: SysctlName) => general.some((other) => other[1] === name[1]);
    return [...general, ...off.filter((name) => !isGeneral(name))].map((name) => wrong(name, "0", "1", why));
  },
};

export const routerAdvertisements: Check = {
  name: "router-advertisements",
  group: "kernel",
  about: "a node that forwards IPv6 accepts its router's advertisements",
  judge({ sysctl, observed, families }) {
    if (!families.has(6) || sysctl(FORWARDING[6]) !== "1") return [];
    const advertised = new Set(
      observed.routes.filter(({ protocol }) => protocol === RTPROT_RA).map(({ outputIndex }) => outputIndex),
    );
    return observed.links
      .filter(({ index }) => advertised.has(index))
      .map(({ name }) => ["net", "ipv6", "conf", name, SETTING_ACCEPT_RA])
      .filter((name) => sysctl(name) === "1")
      .map((name) => {
        const why =
          "a kernel that forwards ignores router advertisements, and loses the route when the last advertisement expires";
        return wrong(name, "1", "2", why);
      });
  },
};

/**
 * 0 is off, 1 strict, 2 loose. The kernel uses the larger of the device's value and the value of "all"
 * (Documentation/networking/ip-sysctl.rst).
 */
const STRICT = 1;

export const reversePath: Check = {
  name: "reverse-path",
  group: "kernel",
  about: "the kernel accepts packets that arrive on another device than replies leave by (rp_filter)",
  judge(facts) {
    const { sysctl, desired, families } = facts;
    if (desired === undefined || !families.has(4)) return [];
    const nameOf = (device: string) => ["net", "ipv4", "conf", device, "rp_filter"];
    const strictness = (device: string) => Number(sysctl(nameOf(device)) ?? 0);
    const everywhere = strictness("all");
    return [underlayName(facts), ...deviceNames(facts)]
      .filter((device) => device !== undefined)
      .filter((device) => Math.max(everywhere, strictness(device)) === STRICT)
      .map((device) => {
        const why = desired.isAsymmetric
          ? "the kernel drops packets of peers that send by another device than this node sends to them"
          : "while the cluster changes its backend, the kernel would drop packets of some peers";
        return {
          ...wrong(nameOf(device), "1", "2", why),
          severity: desired.isAsymmetric ? "warning" : "note",
          seen: `reverse path filtering of ${device} is strict (rp_filter is 1)`,
        };
      });
  },
};

/** The used part of a table's limit from which on a check reports it. */
const FULL = 0.9;

export const neighbourLimits: Check = {
  name: "neighbour-limits",
  group: "kernel",
  about: "the neighbour tables are large enough for the node's pods and peers (gc_thresh3)",
  judge({ sysctl, observed, table, families }) {
    return [...families].flatMap((family): Finding[] => {
      const name = ["net", `ipv${family}`, "neigh", "default", "gc_thresh3"];
      // Limits of the machine: only the initial network namespace shows them.
      const limit = Number(sysctl(name));
      if (!(limit > 0)) return [];
      const held = observed.neighbours.filter(({ address, isPermanent }) => address.family === family && !isPermanent);
      const onLink = peersOnLink(table, family);
      const needed = Math.max(held.length, onLink);
      if (needed < limit * FULL) return [];
      const wanted = 2 ** Math.ceil(Math.log2(needed * 2));
      const what = held.length >= onLink ? `${held.length} entries` : `${onLink} peers on its link`;
      return [
        {
          ...wrong(
            name,
            String(limit),
            String(wanted),
            "once the table is full, the kernel drops packets to hosts that have no entry",
          ),
          severity: needed >= limit ? "error" : "warning",
          seen: `the IPv${family} neighbour table is limited to ${limit} entries, and this node has ${what}`,
        },
      ];
    });
  },
};

/** The number of peers that are neighbours on the underlay's interface. */
function peersOnLink(table: Facts["table"], family: Family): number {
  if (table === undefined) return 0;
  const networks = table.node.underlay.networks.map(networkOf);
  return table.peers.filter(({ addresses }) =>
    addresses.some((address) => address.family === family && networks.some((network) => contains(network, address))),
  ).length;
}

export const connectionTable: Check = {
  name: "connection-table",
  group: "kernel",
  about: "the connection tracking table has free entries (nf_conntrack_max)",
  judge({ sysctl }) {
    const [count, max] = ["nf_conntrack_count", "nf_conntrack_max"].map((name) =>
      Number(sysctl(["net", "netfilter", name])),
    );
    if (count === undefined || max === undefined || !(max > 0) || !(count >= max * FULL)) return [];
    return [
      {
        ...wrong(
          ["net", "netfilter", "nf_conntrack_max"],
          String(max),
          String(max * 2),
          "once the table is full, the kernel drops new connections",
        ),
        severity: count >= max ? "error" : "warning",
        seen: `the kernel tracks ${count} connections of at most ${max}`,
      },
    ];
  },
};

/**
 * Returns the finding for a setting with a wrong value. In sysctl's notation, a dot inside a name is written as a
 * slash.
 */
export function wrong(name: SysctlName, value: string, wanted: string, why: string): Finding {
  const dotted = name.map((part) => part.replaceAll(".", "/")).join(".");
  return { severity: "error", seen: `${dotted} is ${value}`, why, run: `sysctl -w ${dotted}=${wanted}` };
}

export function underlayName({ table, observed }: Pick<Facts, "table" | "observed">): string | undefined {
  return observed.links.find(({ index }) => index === table?.node.underlay.index)?.name;
}

export function deviceNames({ desired }: Pick<Facts, "desired">): string[] {
  return desired?.dataPath.devices.map(({ name }) => name) ?? [];
}
