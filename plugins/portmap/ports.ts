/** The attachment's ports in the node's table, over nfnetlink. Each change is one transaction. */

import { wrong } from "../../pkg/attachment/check.ts";
import { CniError, messageOf } from "../../pkg/cni/errors.ts";
import { notice } from "../../pkg/cni/notice.ts";
import { describeOwner } from "../../pkg/kernel/owner.ts";
import { type BlockingNetlink, openNetfilter } from "../../pkg/netlink/blocking.ts";
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
import { addByKey, removeByKey } from "../../pkg/tables/port-map-step.ts";
import type { PortMap, PortMapping } from "../../pkg/tables/port-mapping.ts";
import { goneHolders } from "./holder.ts";

/** The maximum of ports in an error message. */
const LISTED_PORTS = 16;

/** Another attachment has the host port. */
export const PORT_TAKEN = 100;

/**
 * Replaces the attachment's ports. If a port is taken, nothing is changed (`CniError` 100). Returns the ports of other
 * attachments that are gone, all of which this call has removed.
 */
export function addPorts(system: System, wanted: PortMap): readonly PortMapping[] {
  if (attempt(system, (netfilter) => addByKey(netfilter, wanted)) === true) return [];
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
    // A kernel without nf_tables returns EINVAL or has no such socket. A kernel without an expression returns ENOENT.
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

/** Removes and returns all ports of `owner`; `expected` are its ports according to its configuration. */
export function removeOwnPorts(system: System, owner: string, expected: PortMap): readonly PortMapping[] {
  return (
    attempt(system, (netfilter) => removeByKey(netfilter, owner, expected)) ??
    removePorts(system, (other) => other === owner)
  );
}

/** Undefined if `work` fails; the caller then compares the table, which explains the failure or repairs its reason. */
function attempt<T>(system: System, work: (netfilter: BlockingNetlink) => T): T | undefined {
  try {
    const netfilter = openNetfilter(system);
    try {
      return work(netfilter);
    } finally {
      netfilter.close();
    }
  } catch (error) {
    if (isNetlinkError(error) || isSystemError(error)) return undefined;
    throw error;
  }
}

/** Removes and returns all ports of the owners that `isWanted` selects. Succeeds if there are none. */
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
 * Throws `CniError` if the kernel lacks a part of `wanted`, the ports of `owner`. Does not throw if the kernel has
 * nothing of the owner and `isElsewhere` finds that other rules map its ports.
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

/**
 * A port may be assigned to another attachment between read and change, so the change applies only to the generation
 * that was read.
 */
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
