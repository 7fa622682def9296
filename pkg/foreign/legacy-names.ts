/**
 * What the Go plugins (containernetworking/plugins up to 1.9) call the state that they leave in the kernel, and how to
 * tell whose it is.
 */

import { sha512 } from "../kernel/digest.ts";
import type { Attachment } from "../kernel/owner.ts";

/** Which plugin's state: of bridge and ptp `masquerade` and `spoof-check`. */
export type LegacyPart = "masquerade" | "spoof-check" | "portmap";

/** Chains of single attachments in iptables' nat tables, and the chains that lead there. */
export const NAT_ENTRIES = ["POSTROUTING", "PREROUTING", "OUTPUT"] as const;
export const HOST_PORT_CHAINS = [
  "CNI-HOSTPORT-DNAT",
  "CNI-HOSTPORT-SNAT",
  "CNI-HOSTPORT-MASQ",
  "CNI-HOSTPORT-SETMARK",
] as const;
export const MASQUERADE_TABLE = { table: "cni_plugins_masquerade", chains: ["masq_checks"] } as const;
export const HOST_PORT_TABLE = {
  table: "cni_hostport",
  chains: ["hostports", "hostip_hostports", "masquerading"],
  /** Those of them that translate. */
  portChains: ["hostports", "hostip_hostports"],
} as const;
export const SPOOF_CHECK_TABLE = { table: "nat", entry: "PREROUTING" } as const;

/** The kernel's lists of the tables that iptables-legacy has in this namespace, one a line; absent without its module. */
export const LEGACY_TABLE_NAMES = { 4: "/proc/net/ip_tables_names", 6: "/proc/net/ip6_tables_names" } as const;

/** iptables takes names of 28 characters. */
const CHAIN_LENGTH = 28;
/** What is kept of a hash in a comment. */
const HASH_LENGTH = 16;

/** Whose state is to go: of one attachment, or of all that are garbage. */
export interface LegacySelection {
  /** Chains of iptables' nat tables that are asked for by name; `undefined` where only comments tell. */
  readonly natChains: readonly string[] | undefined;
  /** A chain of the nat tables, with the comments of the rules that lead there. */
  isNatChain(name: string, comments: readonly string[]): boolean;
  isMasqueradeRule(comment: string): boolean;
  isHostPortRule(comment: string): boolean;
  /** The chains of the spoof check, the one that is led to first. */
  readonly spoofChains: readonly string[];
}

/** The chains of bridge and ptp, and of portmap today and in old releases. */
function natChainsOf(attachment: Attachment, parts: readonly LegacyPart[]): string[] {
  const name = natChainNames(attachment);
  return [
    ...(parts.includes("masquerade") ? [name("CNI-")] : []),
    ...(parts.includes("portmap") ? [name("CNI-DN-"), name("CNI-SN-")] : []),
  ];
}

function natChainNames({ network, containerId }: Omit<Attachment, "ifName">): (prefix: string) => string {
  const hash = sha512(network + containerId);
  return (prefix) => `${prefix}${hash}`.slice(0, CHAIN_LENGTH);
}

/** The chain of ipMasq in iptables' nat tables: one for all interfaces of a container on a network. */
export function masqueradeChain(attachment: Attachment): string {
  return natChainNames(attachment)("CNI-");
}

/** The chain of portmap in iptables' nat tables: one for all interfaces of a container on a network. */
export function hostPortChain(attachment: Attachment): string {
  return natChainNames(attachment)("CNI-DN-");
}

/** The chain of the spoof check that PREROUTING leads to; it leads to another one, which ends in `-mac`. */
export function spoofCheckChain({ containerId, ifName }: Attachment): string {
  return `cni-br-iface-${containerId}-${ifName}`;
}

/** What comments of ipMasq's rules in nftables begin with. */
export function masqueradeHash({ network, containerId, ifName }: Attachment): string {
  return `${shortHash(network)}-${shortHash(`${ifName}:${containerId}`)}`;
}

function shortHash(text: string): string {
  return sha512(text).slice(0, HASH_LENGTH);
}

/** All state of one attachment. */
export function legacyOf(attachment: Attachment, parts: readonly LegacyPart[]): LegacySelection {
  // Where the tables are there at all: hashes take as long as everything else.
  let natChains: readonly string[] | undefined;
  let hash: string | undefined;
  const { containerId } = attachment;
  const spoofChain = spoofCheckChain(attachment);
  return {
    get natChains() {
      natChains ??= natChainsOf(attachment, parts);
      return natChains;
    },
    isNatChain(name) {
      return this.natChains?.includes(name) === true;
    },
    isMasqueradeRule(comment) {
      hash ??= masqueradeHash(attachment);
      return comment.startsWith(hash);
    },
    isHostPortRule: (comment) => comment === containerId,
    spoofChains: parts.includes("spoof-check") ? [spoofChain, `${spoofChain}-mac`] : [],
  };
}

/**
 * What is known to be of this network and of none of its valid attachments. Rules that name no network (of the spoof
 * check, and of portmap in nftables) may be another network's, and stay.
 */
export function legacyGarbage(
  network: string,
  valid: readonly Attachment[],
  parts: readonly LegacyPart[],
): LegacySelection {
  const start = `name: "${network}" id: "`;
  let chains: ReadonlySet<string> | undefined;
  let hashes: readonly string[] | undefined;
  return {
    natChains: undefined,
    isNatChain(name, comments) {
      const isOfNetwork = comments.some((comment) => comment.replace(/^dnat /, "").startsWith(start));
      const part = /^CNI-[DS]N-/.test(name) ? "portmap" : "masquerade";
      if (!isOfNetwork || !parts.includes(part)) return false;
      chains ??= new Set(valid.flatMap((attachment) => natChainsOf(attachment, parts)));
      return !chains.has(name);
    },
    isMasqueradeRule(comment) {
      hashes ??= [shortHash(network), ...valid.map(masqueradeHash)];
      const [own = "", ...kept] = hashes;
      return comment.startsWith(`${own}-`) && !kept.some((hash) => comment.startsWith(hash));
    },
    isHostPortRule: () => false,
    spoofChains: [],
  };
}
