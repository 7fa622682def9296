/**
 * Removes the guards of pods' senders. The reference plugins have no such rules, and their DEL would leave the elements
 * of a pod: a later pod whose link has the same name could not send.
 */
import { SENDERS_TABLE } from "../../../pkg/footprint.ts";
import { openNetfilter } from "../../../pkg/netlink/blocking.ts";
import type { Request } from "../../../pkg/netlink/message.ts";
import { changeSeen, lacksNetfilter, readRuleset } from "../../../pkg/netlink/ruleset.ts";
import { deleteTable, readTables, tablesDump } from "../../../pkg/nft/ruleset.ts";
import type { System } from "../../../pkg/sys/system.ts";

type Netfilter = ReturnType<typeof openNetfilter>;

/** Returns the requests that remove the tables. Empty if the kernel does not support nf_tables. */
export function senderGuardRemovals(system: System): readonly Request[] {
  try {
    const netfilter = openNetfilter(system);
    try {
      return removals(netfilter);
    } finally {
      netfilter.close();
    }
  } catch (error) {
    if (lacksNetfilter(error)) return [];
    throw error;
  }
}

/** Throws `NetlinkError`. */
export function removeSenderGuards(system: System): void {
  if (senderGuardRemovals(system).length === 0) return;
  changeSeen(system, removals, (requests) => ({ requests, generation: undefined }));
}

function removals(netfilter: Netfilter): readonly Request[] {
  const tables = readTables(readRuleset(netfilter, [tablesDump()]));
  return tables.filter(({ table }) => table === SENDERS_TABLE).map(deleteTable);
}
