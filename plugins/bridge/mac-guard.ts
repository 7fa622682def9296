/** `macspoofchk`: adds the attachment's port to the node's table of guarded ports, over one nfnetlink socket. */
import type { NewPort } from "../../pkg/attachment/before-up.ts";
import { wrong } from "../../pkg/attachment/check.ts";
import type { OwnElements } from "../../pkg/attachment/element-removal.ts";
import type { AttachContext } from "../../pkg/attachment/interface-plugin.ts";
import { holdsLegacy } from "../../pkg/attachment/legacy.ts";
import { lastPair } from "../../pkg/attachment/own-port.ts";
import { ownerOf } from "../../pkg/attachment/owner.ts";
import { CniError, ErrorCode, messageOf } from "../../pkg/cni/errors.ts";
import type { CniRequest } from "../../pkg/cni/plugin.ts";
import { openNetfilter } from "../../pkg/netlink/blocking.ts";
import { isNetlinkError } from "../../pkg/netlink/errors.ts";
import type { Message } from "../../pkg/netlink/message.ts";
import { changeRuleset, lacksNetfilter, readRuleset } from "../../pkg/netlink/ruleset.ts";
import { addToStamped } from "../../pkg/nft/stamped-change.ts";
import type { System } from "../../pkg/sys/system.ts";
import {
  addGuards,
  deleteGuard,
  deleteGuards,
  type GuardedPort,
  hasGuardOf,
  holdsGuard,
  macSpoofDumps,
  macSpoofElementDumps,
  macSpoofTable,
} from "../../pkg/tables/mac-spoof.ts";

type Guarded = Omit<GuardedPort, "owner">;

/**
 * Runs before the host's end comes up (`BeforeUp`). Throws `CniError` 2 if the kernel does not support nf_tables for bridges.
 */
export function guardMac({ request, undo }: AttachContext, { veth }: NewPort): void {
  const owner = ownerOf(request);
  const guarded = { owner, port: veth.hostName, mac: veth.podMac };
  undo.push(() => removeGuards(request.system, (mark) => mark === owner));
  try {
    addToStamped(request.system, macSpoofTable([guarded]), (dumped) => addGuards(dumped, [guarded]));
  } catch (error) {
    if (!lacksNetfilter(error) && !isNetlinkError(error, "EOPNOTSUPP", "EAFNOSUPPORT")) throw error;
    throw new CniError(
      ErrorCode.unsupportedField,
      `macspoofchk: ${messageOf(error)}; it needs a kernel with nf_tables for bridges (CONFIG_NF_TABLES_BRIDGE)`,
      { cause: error },
    );
  }
}

/** Succeeds if there is nothing to remove, also if there is no table or no kernel support for it. */
export function removeGuards(system: System, isWanted: (mark: string) => boolean): void {
  try {
    changeRuleset(system, macSpoofElementDumps(), (dumped) => deleteGuards(dumped, isWanted));
  } catch (error) {
    if (!lacksNetfilter(error)) throw error;
  }
}

/** The elements that ADD made for the attachment's port, for DEL. No other port has its name. */
export function ownGuard(request: CniRequest): OwnElements {
  const owner = ownerOf(request);
  const { host, pod } = lastPair(request) ?? {};
  const mac = pod?.mac?.toLowerCase();
  return {
    questions: [],
    remove: () => (host === undefined || !mac ? undefined : deleteGuard({ port: host.name, mac })),
    dumps: macSpoofElementDumps(),
    removeMarked: (dumped) => deleteGuards(dumped, (mark) => mark === owner),
  };
}

/** Accepts the reference's rules if our table has no entry of the attachment. */
export function checkGuard(request: CniRequest, guarded: Guarded): void {
  const owner = ownerOf(request);
  const seen = readGuards(request.system);
  if (holdsGuard(seen, { owner, ...guarded })) return;
  if (!hasGuardOf(seen, owner) && holdsLegacy(request, ["spoof-check"])) return;
  throw wrong(`frames of ${guarded.port} are not restricted to the source ${guarded.mac} (table bridge weft_macspoof)`);
}

function readGuards(system: System): readonly Message[] {
  const netfilter = openNetfilter(system);
  try {
    return readRuleset(netfilter, macSpoofDumps());
  } finally {
    netfilter.close();
  }
}
