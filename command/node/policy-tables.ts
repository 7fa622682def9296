/** Reads whether weft's tables for policies exist in the kernel. */
import { POLICY_TABLE, SENDERS_TABLE } from "../../pkg/footprint.ts";
import { openNetfilter } from "../../pkg/netlink/blocking.ts";
import { NFPROTO } from "../../pkg/netlink/nftables.ts";
import { lacksNetfilter, readRuleset } from "../../pkg/netlink/ruleset.ts";
import { readTables, type TablePlace, tablesDump } from "../../pkg/nft/ruleset.ts";
import type { System } from "../../pkg/sys/system.ts";

export interface PolicyTablesSeen {
  readonly hasPolicies: boolean;
  readonly hasSenders: boolean;
}

/** Throws `NetlinkError`. */
export function readPolicyTables(system: System): PolicyTablesSeen {
  try {
    const netfilter = openNetfilter(system);
    try {
      return policyTablesIn(readTables(readRuleset(netfilter, [tablesDump()])));
    } finally {
      netfilter.close();
    }
  } catch (error) {
    if (lacksNetfilter(error)) return { hasPolicies: false, hasSenders: false };
    throw error;
  }
}

export function policyTablesIn(tables: readonly TablePlace[]): PolicyTablesSeen {
  return {
    hasPolicies: tables.some(({ family, table }) => family === NFPROTO.inet && table === POLICY_TABLE),
    hasSenders: tables.some(({ table }) => table === SENDERS_TABLE),
  };
}
