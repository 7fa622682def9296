/**
 * The names of objects that kube-proxy 1.36 and earlier versions create in the kernel, and similar names of other
 * programs.
 *
 *     nftables mode   tables `ip kube-proxy`, `ip6 kube-proxy`
 *     iptables mode   chains KUBE-* in the tables filter, nat and mangle, and the rules that jump to them
 *
 * KUBE-FIREWALL, KUBE-KUBELET-CANARY, KUBE-IPTABLES-HINT and KUBE-MARK-DROP belong to the kubelet. kube-proxy writes
 * KUBE-FIREWALL, too, but a kubelet creates it in every mode. The packets that it drops (for 127.0.0.0/8 from other
 * hosts, CVE-2020-8558) must also be dropped without kube-proxy. Chains of IPVS mode belong to virtual servers and
 * ipsets, which weft does not handle.
 */
import { NFPROTO } from "../../netlink/nftables.ts";
import type { TablePlace } from "../../nft/ruleset.ts";

/** The tables of nftables mode. */
export const PROXY_TABLES: readonly TablePlace[] = [
  { family: NFPROTO.ip, table: "kube-proxy" },
  { family: NFPROTO.ip6, table: "kube-proxy" },
];

export const XTABLES = ["filter", "nat", "mangle"] as const;
export type XTable = (typeof XTABLES)[number];

/**
 * kube-proxy detects by this chain that its rules were flushed. It exists as long as any object of iptables mode
 * exists.
 */
export const CANARY = "KUBE-PROXY-CANARY";

/**
 * KUBE-POSTROUTING masquerades packets that pass this chain. Other programs' rules, such as portmap's, may jump to it.
 */
export const MARK_CHAIN = "KUBE-MARK-MASQ";
export const MASQUERADE_CHAIN = "KUBE-POSTROUTING";

const CHAINS: Readonly<Record<XTable, readonly string[]>> = {
  filter: [
    ...["KUBE-SERVICES", "KUBE-EXTERNAL-SERVICES", "KUBE-NODEPORTS", "KUBE-FORWARD", "KUBE-PROXY-FIREWALL"],
    CANARY,
  ],
  nat: ["KUBE-SERVICES", "KUBE-NODEPORTS", MARK_CHAIN, MASQUERADE_CHAIN, CANARY],
  mangle: [CANARY],
};

/** The names of chains for single Service ports and endpoints, in the nat table. KUBE-XLB- was used before 1.24. */
const OF_SERVICES = /^KUBE-(?:SVC|SVL|EXT|FW|SEP|XLB)-[A-Z2-7]{16}$/;

export function isXTable(table: string): table is XTable {
  return (XTABLES as readonly string[]).includes(table);
}

/** True for chains of iptables mode that weft removes. */
export function isProxyChain(table: XTable, chain: string): boolean {
  return CHAINS[table].includes(chain) || (table === "nat" && OF_SERVICES.test(chain));
}

/** Returns the chains with fixed names. At least one of them exists if any chain exists. */
export function fixedChains(table: XTable): readonly string[] {
  return CHAINS[table];
}

/** The device that has the Services' addresses in IPVS mode. */
export const IPVS_DEVICE = "kube-ipvs0";
