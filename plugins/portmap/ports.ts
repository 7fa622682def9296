/** The attachment's ports in the node's table, over nfnetlink: each change is one transaction. */

import { wrong } from "../../pkg/attachment/check.ts";
import { CniError, messageOf } from "../../pkg/cni/errors.ts";
import { notice } from "../../pkg/cni/notice.ts";
import { describeOwner } from "../../pkg/kernel/owner.ts";
import { openNetfilter } from "../../pkg/netlink/blocking.ts";
import { isNetlinkError } from "../../pkg/netlink/errors.ts";
import type { Read } from "../../pkg/netlink/look.ts";
import type { Message, Request } from "../../pkg/netlink/message.ts";
import { changeSeen, lacksNetfilter, readGeneration, readRuleset } from "../../pkg/netlink/ruleset.ts";
import { isSystemError } from "../../pkg/sys/errors.ts";
import type { System } from "../../pkg/sys/system.ts";
import {
  addPortMap,
  deletePortMap,
  hasPorts,
  lookAtPortMap,
  lookAtPortMapElements,
  missingFromPortMap,
  PortTakenError,
} from "../../pkg/tables/port-map.ts";
import { readPortMap } from "../../pkg/tables/port-map-reading.ts";
import type { PortMap, PortMapping } from "../../pkg/tables/port-mapping.ts";
import { goneHolders } from "./holder.ts";

/** More than an error message should list. */
const LISTED_PORTS = 16;

/** Another attachment has the host port. */
export const PORT_TAKEN = 100;

/**
 * Replaces what the attachment had; where a port is taken nothing is changed (`CniError` 100). Returns the ports of other
 * attachments that are gone: this call has removed them all.
 */
export function addPorts(system: System, wanted: PortMap): readonly PortMapping[] {
  let replaced: readonly PortMapping[] = [];
  const isGone = goneHolders(system);
  try {
    changeTable(system, lookAtPortMap, (seen) => {
      const addition = addPortMap(seen, wanted, isGone);
      replaced = addition.replaced;
      return addition.requests;
    });
  } catch (error) {
    if (error instanceof PortTakenError) throw new CniError(PORT_TAKEN, `portmap: ${error.message}`, { cause: error });
    // A kernel without nf_tables answers EINVAL or has no such socket; one without an expression, ENOENT.
    const isUnsupported = lacksNetfilter(error) || isNetlinkError(error, "ENOENT", "EOPNOTSUPP");
    const advice = isUnsupported
      ? "; portmap needs a kernel with nf_tables, nft_chain_nat, nft_nat and nft_fib_inet"
      : isSystemError(error, "EMSGSIZE")
        ? `; ${wanted.mappings.length} ports are one transaction, which net.core.wmem_max limits: raise it, or map fewer ports`
        : "";
    throw new Error(`portmap: ${messageOf(error)}${advice}`, { cause: error });
  }
  for (const owner of new Set(replaced.map((mapping) => mapping.owner))) {
    notice(system, "portmap", `removed the ports of ${describeOwner(owner)}, which is gone without a DEL`);
  }
  return replaced;
}

/** Removes all ports of the owners that `isWanted` names, and returns them; silent where there is nothing. */
export function removePorts(system: System, isWanted: (owner: string) => boolean): readonly PortMapping[] {
  let removed: readonly PortMapping[] = [];
  try {
    changeTable(system, lookAtPortMapElements, (seen) => {
      removed = readPortMap(seen).mappings.filter(({ owner }) => isWanted(owner));
      return deletePortMap(seen, isWanted);
    });
  } catch (error) {
    if (!lacksNetfilter(error)) throw error;
  }
  return removed;
}

/**
 * Throws `CniError` where the kernel lacks something of `wanted`, which `owner` has; not where it has nothing of the owner
 * at all and `isElsewhere` says that its ports are mapped by other rules.
 */
export function checkPorts(system: System, owner: string, wanted: PortMap, isElsewhere: () => boolean): void {
  const seen = lookAt(system, lookAtPortMap);
  const missing = missingFromPortMap(seen, wanted);
  if (missing.length === 0 || (!hasPorts(seen, owner) && isElsewhere())) return;
  const rest = missing.length - LISTED_PORTS;
  const more = rest > 0 ? `; and ${rest} more` : "";
  throw wrong(`ports are not mapped: ${missing.slice(0, LISTED_PORTS).join("; ")}${more}`);
}

function lookAt(system: System, look: (read: Read) => readonly Message[]): readonly Message[] {
  const netfilter = openNetfilter(system);
  try {
    return look((questions) => readRuleset(netfilter, questions));
  } finally {
    netfilter.close();
  }
}

/** A port may go over to another attachment between look and change, so the change is for what was seen only. */
function changeTable(
  system: System,
  look: (read: Read) => readonly Message[],
  plan: (seen: readonly Message[]) => readonly Request[],
): void {
  changeSeen(
    system,
    (netfilter) => ({
      generation: readGeneration(netfilter),
      seen: look((questions) => readRuleset(netfilter, questions)),
    }),
    ({ generation, seen }) => ({ generation, requests: plan(seen) }),
  );
}
