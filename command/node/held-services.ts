/** Reads frontends of Services from the kernel. */
import { SERVICES_TABLE } from "../../pkg/footprint.ts";
import type { Family } from "../../pkg/ip/address.ts";
import { type BlockingNetlink, openNetfilter } from "../../pkg/netlink/blocking.ts";
import { answered } from "../../pkg/netlink/look.ts";
import { NFPROTO } from "../../pkg/netlink/nftables.ts";
import { lacksNetfilter, readRuleset } from "../../pkg/netlink/ruleset.ts";
import { readTables, tablesDump } from "../../pkg/nft/ruleset.ts";
import {
  type ConnectionCount,
  connectionCountsDump,
  readConnectionCounts,
} from "../../pkg/services/nftables/connection-counts.ts";
import { type HeldFrontend, lookAtFrontends } from "../../pkg/services/nftables/held-frontends.ts";
import type { System } from "../../pkg/sys/system.ts";

const FAMILIES: readonly Family[] = [4, 6];

/** Undefined if the kernel has no such table. */
export function readHeldFrontends(system: System): readonly HeldFrontend[] | undefined {
  return readTable(system, (netfilter) =>
    answered(lookAtFrontends(), (questions) => readRuleset(netfilter, questions)),
  );
}

/**
 * Counts the connections of each frontend, which is a small part of the table. Undefined if the kernel has no such
 * table.
 */
export function readHeldCounts(system: System): readonly ConnectionCount[] | undefined {
  return readTable(system, (netfilter) =>
    FAMILIES.flatMap((family) =>
      readRuleset(netfilter, [connectionCountsDump(family)]).flatMap((message) =>
        readConnectionCounts(message, family),
      ),
    ),
  );
}

function readTable<T>(system: System, read: (netfilter: BlockingNetlink) => T): T | undefined {
  const netfilter = openNetfilter(system);
  try {
    const tables = readTables(readRuleset(netfilter, [tablesDump()]));
    const isThere = tables.some(({ family, table }) => family === NFPROTO.inet && table === SERVICES_TABLE);
    return isThere ? read(netfilter) : undefined;
  } catch (error) {
    if (lacksNetfilter(error)) return undefined;
    throw error;
  } finally {
    netfilter.close();
  }
}
