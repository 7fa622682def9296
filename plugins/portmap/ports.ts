/** The attachment's ports in the node's table, over nfnetlink: each change is one transaction. */
import { wrong } from "../../pkg/attachment/check.ts";
import { CniError, messageOf } from "../../pkg/cni/errors.ts";
import {
  addPortMap,
  deletePortMap,
  missingFromPortMap,
  type PortMap,
  type PortMapping,
  PortTakenError,
  portMapDumps,
  portMapElementDumps,
  readPortMap,
} from "../../pkg/kernel/port-map.ts";
import { openNetfilter } from "../../pkg/netlink/blocking.ts";
import { isNetlinkError } from "../../pkg/netlink/errors.ts";
import type { Message, Request } from "../../pkg/netlink/message.ts";
import { changeSeen, lacksNetfilter, readGeneration, readRuleset } from "../../pkg/netlink/ruleset.ts";
import type { System } from "../../pkg/sys/system.ts";

/** Another attachment has the host port. */
export const PORT_TAKEN = 100;

/** Replaces what the attachment had; where a port is taken nothing is changed (`CniError` 100). */
export function addPorts(system: System, wanted: PortMap): void {
  try {
    changeTable(system, portMapDumps(), (dumped) => addPortMap(dumped, wanted));
  } catch (error) {
    if (error instanceof PortTakenError) throw new CniError(PORT_TAKEN, `portmap: ${error.message}`, { cause: error });
    // A kernel without nf_tables answers EINVAL or has no such socket; one without an expression, ENOENT.
    const isUnsupported = lacksNetfilter(error) || isNetlinkError(error, "ENOENT", "EOPNOTSUPP");
    const advice = isUnsupported
      ? "; portmap needs a kernel with nf_tables, nft_chain_nat, nft_nat and nft_fib_inet"
      : "";
    throw new Error(`portmap: ${messageOf(error)}${advice}`, { cause: error });
  }
}

/** Removes all ports of the owners that `isWanted` names, and returns them; silent where there is nothing. */
export function removePorts(system: System, isWanted: (owner: string) => boolean): readonly PortMapping[] {
  let removed: readonly PortMapping[] = [];
  try {
    changeTable(system, portMapElementDumps(), (dumped) => {
      removed = readPortMap(dumped).mappings.filter(({ owner }) => isWanted(owner));
      return deletePortMap(dumped, isWanted);
    });
  } catch (error) {
    if (!lacksNetfilter(error)) throw error;
  }
  return removed;
}

/** Throws `CniError` where the kernel lacks something of `wanted`. */
export function checkPorts(system: System, wanted: PortMap): void {
  const netfilter = openNetfilter(system);
  try {
    const missing = missingFromPortMap(readRuleset(netfilter, portMapDumps()), wanted);
    if (missing.length > 0) throw wrong(`ports are not mapped: ${missing.join("; ")}`);
  } finally {
    netfilter.close();
  }
}

/** A port may go over to another attachment between look and change, so the change is for what was seen only. */
function changeTable(
  system: System,
  dumps: readonly Request[],
  plan: (dumped: readonly Message[]) => readonly Request[],
): void {
  changeSeen(
    system,
    (netfilter) => ({ generation: readGeneration(netfilter), dumped: readRuleset(netfilter, dumps) }),
    ({ generation, dumped }) => ({ generation, requests: plan(dumped) }),
  );
}
