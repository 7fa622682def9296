/**
 * What kube-proxy 1.36 and its predecessors call what they make in the kernel, and what is not theirs.
 *
 *     nftables mode   tables `ip kube-proxy`, `ip6 kube-proxy`
 *     iptables mode   chains KUBE-* in the tables filter, nat and mangle, and the rules that lead there
 *
 * The kubelet's are KUBE-FIREWALL, KUBE-KUBELET-CANARY, KUBE-IPTABLES-HINT and KUBE-MARK-DROP. kube-proxy writes KUBE-FIREWALL,
 * too, but a kubelet puts it there in every mode, and what it drops (packets for 127.0.0.0/8 from elsewhere, CVE-2020-8558)
 * must be dropped without kube-proxy as well. Chains of IPVS mode go with virtual servers and ipsets that weft does not know.
 */
import { NFPROTO } from "../../netlink/nftables.ts";
import type { TablePlace } from "../../nft/ruleset.ts";

/** Of nftables mode. */
export const PROXY_TABLES: readonly TablePlace[] = [
  { family: NFPROTO.ip, table: "kube-proxy" },
  { family: NFPROTO.ip6, table: "kube-proxy" },
];

export const XTABLES = ["filter", "nat", "mangle"] as const;
export type XTable = (typeof XTABLES)[number];

/** By this chain kube-proxy notices that its rules were flushed: it is there as long as anything of iptables mode is. */
export const CANARY = "KUBE-PROXY-CANARY";

/** Packets that come here are masqueraded by KUBE-POSTROUTING. Other programs' rules may lead here, such as portmap's. */
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

/** Of single Service ports and endpoints, in nat: how the names begin; KUBE-XLB- before 1.24. */
const OF_SERVICES = /^KUBE-(?:SVC|SVL|EXT|FW|SEP|XLB)-[A-Z2-7]{16}$/;

export function isXTable(table: string): table is XTable {
  return (XTABLES as readonly string[]).includes(table);
}

/** True for the chains of iptables mode that are removed. */
export function isProxyChain(table: XTable, chain: string): boolean {
  return CHAINS[table].includes(chain) || (table === "nat" && OF_SERVICES.test(chain));
}

/** Those of them with a fixed name: one of them is there where anything is. */
export function fixedChains(table: XTable): readonly string[] {
  return CHAINS[table];
}

/** The device that carries Services' addresses in IPVS mode. */
export const IPVS_DEVICE = "kube-ipvs0";
