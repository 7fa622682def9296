/**
 * The names of the state that the Go plugins (containernetworking/plugins up to 1.9) leave in the kernel, and how to
 * find its owner.
 */

import { sha512 } from "../kernel/digest.ts";
import type { Attachment } from "../kernel/owner.ts";

/** The kind of state. `masquerade` and `spoof-check` are of the plugins bridge and ptp. */
export type LegacyPart = "masquerade" | "spoof-check" | "portmap";

/** The chains in iptables' nat tables that jump to chains of single attachments. */
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
  /** The chains that translate addresses. */
  portChains: ["hostports", "hostip_hostports"],
} as const;
export const SPOOF_CHECK_TABLE = { table: "nat", entry: "PREROUTING" } as const;

/**
 * The kernel's lists of iptables-legacy's tables in this namespace, one in each line. The files are missing without its
 * module.
 */
export const LEGACY_TABLE_NAMES = { 4: "/proc/net/ip_tables_names", 6: "/proc/net/ip6_tables_names" } as const;

/** The longest chain name of iptables. */
const CHAIN_LENGTH = 28;
/** The part of a hash that is used in a comment, in characters. */
const HASH_LENGTH = 16;

/** Selects the state to remove: of one attachment, or of all garbage. */
export interface LegacySelection {
  /** The chains of iptables' nat tables to read by name. Undefined if only comments identify them. */
  readonly natChains: readonly string[] | undefined;
  /** True for a chain of the nat tables to remove. `comments` are those of the rules that jump to it. */
  isNatChain(name: string, comments: readonly string[]): boolean;
  isMasqueradeRule(comment: string): boolean;
  isHostPortRule(comment: string): boolean;
  /** The chains of the spoof check; the first one jumps to the second. */
  readonly spoofChains: readonly string[];
}

/** Returns the chains of bridge and ptp, and of portmap in current and old releases. */
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

/** Returns the chain of ipMasq in iptables' nat tables. A container has one for all interfaces on a network. */
export function masqueradeChain(attachment: Attachment): string {
  return natChainNames(attachment)("CNI-");
}

/** Returns the chain of portmap in iptables' nat tables. A container has one for all interfaces on a network. */
export function hostPortChain(attachment: Attachment): string {
  return natChainNames(attachment)("CNI-DN-");
}

/**
 * Returns the chain of the spoof check to which PREROUTING jumps. It jumps to a second chain, whose name ends in
 * `-mac`.
 */
export function spoofCheckChain({ containerId, ifName }: Attachment): string {
  return `cni-br-iface-${containerId}-${ifName}`;
}

/** Returns the text with which comments of ipMasq's rules in nftables begin. */
export function masqueradeHash({ network, containerId, ifName }: Attachment): string {
  return `${shortHash(network)}-${shortHash(`${ifName}:${containerId}`)}`;
}

function shortHash(text: string): string {
  return sha512(text).slice(0, HASH_LENGTH);
}

/** Selects all state of one attachment. */
export function legacyOf(attachment: Attachment, parts: readonly LegacyPart[]): LegacySelection {
  // Computed only if the tables exist: hashing takes as long as everything else together.
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
 * Selects state that belongs to this network and to none of its valid attachments. Rules that name no network (of the
 * spoof check, and of portmap in nftables) may belong to another network and are kept.
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
