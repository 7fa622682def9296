/** Frontends of Services as the kernel holds them. */
import { SERVICES_TABLE } from "../../pkg/footprint.ts";
import { type BlockingNetlink, openNetfilter } from "../../pkg/netlink/blocking.ts";
import { answered } from "../../pkg/netlink/look.ts";
import { NFPROTO } from "../../pkg/netlink/nftables.ts";
import { lacksNetfilter, readRuleset } from "../../pkg/netlink/ruleset.ts";
import { readTables, tablesDump } from "../../pkg/nft/ruleset.ts";
import { type HeldFrontend, lookAtFrontends } from "../../pkg/services/nftables/held-frontends.ts";
import type { System } from "../../pkg/sys/system.ts";

/** Undefined where the kernel has no such table. */
export function readHeldFrontends(system: System): readonly HeldFrontend[] | undefined {
  const netfilter = openNetfilter(system);
  try {
    return heldFrontends(netfilter);
  } catch (error) {
    if (lacksNetfilter(error)) return undefined;
    throw error;
  } finally {
    netfilter.close();
  }
}

function heldFrontends(netfilter: BlockingNetlink): readonly HeldFrontend[] | undefined {
  const tables = readTables(readRuleset(netfilter, [tablesDump()]));
  if (!tables.some(({ family, table }) => family === NFPROTO.inet && table === SERVICES_TABLE)) return undefined;
  return answered(lookAtFrontends(), (questions) => readRuleset(netfilter, questions));
}
