/**
 * Finds kernel options that Services need and that the kernel was built without, by their names in its configuration.
 */
import { DSTNAT_PRIORITY, FILTER_PRIORITY, PROBE_LINK, SRCNAT_PRIORITY } from "../../../pkg/footprint.ts";
import type { BlockingNetlink } from "../../../pkg/netlink/blocking.ts";
import { IPCTNL_MSG_CT_GET } from "../../../pkg/netlink/conntrack.ts";
import { isNetlinkError, type NetlinkError } from "../../../pkg/netlink/errors.ts";
import { query } from "../../../pkg/netlink/message.ts";
import {
  type Expression,
  NF_NAT_RANGE,
  NFPROTO,
  NFT_CT,
  NFT_FIB_FLAG,
  NFT_FIB_RESULT,
  NFT_NAT,
  NFT_NG_RANDOM,
  NFT_REG,
  NFT_REJECT_ICMPX,
} from "../../../pkg/netlink/nftables.ts";
import { type BaseChain, createTable, type Table } from "../../../pkg/nft/table.ts";

/** A rule for each option, in a chain that allows it. */
const RULES: readonly (readonly [
  option: string,
  chain: "filter" | "dstnat" | "srcnat",
  rule: readonly Expression[],
])[] = [
  [
    "NFT_NUMGEN",
    "filter",
    [{ kind: "numgen", data: { dreg: NFT_REG.r1, modulus: 2, type: NFT_NG_RANDOM, offset: 0 } }],
  ],
  [
    "NFT_FIB_INET",
    "filter",
    [{ kind: "fib", data: { dreg: NFT_REG.r1, result: NFT_FIB_RESULT.addrtype, flags: NFT_FIB_FLAG.saddr } }],
  ],
  ["NFT_CT", "filter", [{ kind: "ct", data: { dreg: NFT_REG.r1, key: NFT_CT.state } }]],
  [
    "NFT_REJECT_INET",
    "filter",
    [{ kind: "reject", data: { type: NFT_REJECT_ICMPX.unreachable, code: NFT_REJECT_ICMPX.portUnreachable } }],
  ],
  [
    "NFT_NAT",
    "dstnat",
    [
      { kind: "immediate", data: { dreg: NFT_REG.r1, data: { value: Uint8Array.of(192, 0, 2, 1) } } },
      {
        kind: "nat",
        data: {
          ...{ type: NFT_NAT.dnat, family: NFPROTO.ip, addressMin: NFT_REG.r1, addressMax: NFT_REG.r1 },
          flags: NF_NAT_RANGE.mapIps,
        },
      },
    ],
  ],
  ["NFT_MASQ", "srcnat", [{ kind: "masq", data: {} }]],
];

const CHAINS = [
  { name: "filter", type: "filter", hook: "input", priority: FILTER_PRIORITY },
  { name: "dstnat", type: "nat", hook: "prerouting", priority: DSTNAT_PRIORITY },
  { name: "srcnat", type: "nat", hook: "postrouting", priority: SRCNAT_PRIORITY },
] as const satisfies readonly Omit<BaseChain, "rules">[];

const TABLE: Table = {
  ...{ family: "inet", name: PROBE_LINK, comment: "never created", sets: [] },
  chains: CHAINS.map((chain) => ({
    ...chain,
    rules: RULES.filter(([, name]) => name === chain.name).map(([option, , expressions]) => ({
      comment: option,
      statements: [{ text: option, expressions }],
    })),
  })),
};

/** Sends rules to the kernel for validation only. They are never created. */
export function missingServiceOptions(netfilter: BlockingNetlink): string[] {
  return [...missingNftables(netfilter), ...missingConntrack(netfilter)];
}

function missingNftables(netfilter: BlockingNetlink): string[] {
  const [table, ...others] = netfilter.judge(createTable(TABLE));
  if (table !== undefined) {
    if (isNetlinkError(table, "EAFNOSUPPORT", "EOPNOTSUPP")) return ["NF_TABLES_INET"];
    throw table;
  }
  // A rule is refused without its chain, too, so its refusal does not show a missing option then.
  const absent = CHAINS.filter((_, at) => isAbsent(others[at])).map(({ name }) => name as string);
  const verdicts = others.slice(CHAINS.length);
  // Rules are sent chain by chain, in the order of the table.
  const asked = CHAINS.flatMap((chain) => RULES.filter(([, name]) => name === chain.name));
  const refused = asked
    .filter(([, chain], at) => !absent.includes(chain) && isAbsent(verdicts[at]))
    .map(([name]) => name);
  return [...new Set([...(absent.length > 0 ? ["NFT_NAT"] : []), ...refused])];
}

/** ENOENT: no such expression or chain type. EOPNOTSUPP: not supported for this family. */
function isAbsent(error: NetlinkError | undefined): boolean {
  return isNetlinkError(error, "ENOENT", "EOPNOTSUPP");
}

/** Queries a connection that does not exist. The kernel returns ENOENT if it has NF_CT_NETLINK. */
function missingConntrack(netfilter: BlockingNetlink): string[] {
  const unused = Uint8Array.of(192, 0, 2, 1);
  const original = {
    ip: { source4: unused, destination4: unused },
    protocol: { number: 17, sourcePort: 1, destinationPort: 1 },
  };
  const question = query(IPCTNL_MSG_CT_GET, "conntrack -G", { family: NFPROTO.ip }, { original });
  const [reply] = netfilter.exchange([question]);
  return isNetlinkError(reply?.error, "EINVAL", "EOPNOTSUPP") ? ["NF_CT_NETLINK"] : [];
}
