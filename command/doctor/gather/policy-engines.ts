/** Recognises other programs that enforce NetworkPolicies by their tables and chains in nf_tables. Pure. */
import { type ChainPlace, type TablePlace, tablePlaceText } from "../../../pkg/nft/ruleset.ts";
import type { PolicyEngine } from "../facts.ts";

interface Signs {
  readonly name: string;
  readonly table?: RegExp;
  readonly chain?: RegExp;
}

const ENGINES: readonly Signs[] = [
  { name: "kube-router", table: /^kube-router-filter-ipv[46]$/, chain: /^KUBE-(POD-FW|NWPLCY)-/ },
  { name: "Calico", table: /^calico$/, chain: /^cali-/ },
  { name: "Cilium", chain: /^(OLD_)?CILIUM_/ },
  { name: "kube-network-policies", table: /^kube-network-policies$/ },
  { name: "kindnet", table: /^kindnet-network-policies$/ },
  { name: "Antrea", table: /^antrea/, chain: /^ANTREA-/ },
  { name: "Weave Net", chain: /^WEAVE-NPC/ },
];
/** The AWS agent pins its eBPF programs here. It has no rules in nf_tables. */
export const AWS_PINS = "/sys/fs/bpf/globals/aws/programs";

export interface SeenEngines {
  readonly tables: readonly TablePlace[];
  readonly chains: readonly ChainPlace[];
  /** True if `AWS_PINS` exists. */
  readonly hasAwsPins: boolean;
}

export function findPolicyEngines({ tables, chains, hasAwsPins }: SeenEngines): PolicyEngine[] {
  const found = ENGINES.map(({ name, table, chain }) => ({
    name,
    signs: [
      ...tables.filter((one) => table?.test(one.table)).map((one) => `table ${tablePlaceText(one)}`),
      ...chains.filter((one) => chain?.test(one.chain)).map((one) => `chain ${tablePlaceText(one)} ${one.chain}`),
    ],
  }));
  const aws = { name: "the AWS network policy agent", signs: hasAwsPins ? [AWS_PINS] : [] };
  return [...found, aws].filter(({ signs }) => signs.length > 0);
}
