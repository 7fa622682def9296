/**
 * The guard that makes `route_localnet` safe (CVE-2020-8558). The setting lets the node's loopback connections leave
 * through other devices, to pods, and lets packets to 127.0.0.0/8 enter through them. The guard drops the latter before
 * connection tracking. Replies to the node's own connections pass, because they carry the node's address until they are
 * translated back.
 */
import { LOCALHOST_TABLE, RAW_PRIORITY, SETTING_ROUTE_LOCALNET } from "../footprint.ts";
import { IPV4_LOOPBACK } from "../ip/prefix.ts";
import type { SysctlName } from "../kernel/sysctl.ts";
import { counter, drop, matchFamily, matchNotFromLoopback, matchPrefix } from "../nft/expressions.ts";
import type { Chain, Rule, Table } from "../nft/table.ts";

/** The setting for all devices, which the kernel applies to each of them. It is on only while a guard is programmed. */
export const ROUTE_LOCALNET: SysctlName = ["net", "ipv4", "conf", "all", SETTING_ROUTE_LOCALNET];

/** `iifname != "lo" ip daddr 127.0.0.0/8 drop`, and the same for `saddr`. */
const RULES = (["daddr", "saddr"] as const).map(
  (side): Rule => ({
    comment: `loopback addresses from elsewhere: ${side}`,
    statements: [matchNotFromLoopback, matchFamily(4), matchPrefix(side, IPV4_LOOPBACK), counter, drop],
  }),
);

export function loopbackGuard(name: string): Chain {
  return { name, type: "filter", hook: "prerouting", priority: RAW_PRIORITY, rules: RULES };
}

/**
 * `table inet weft-localhost`, weftd's own guard. It is a table of its own, because it must exist while the setting is
 * on, whatever happens to Services or pods' ports.
 */
export const LOCALHOST_GUARD: Table = {
  family: "inet",
  name: LOCALHOST_TABLE,
  comment: "weft: loopback addresses stay on the node",
  sets: [],
  chains: [loopbackGuard("prerouting")],
};
