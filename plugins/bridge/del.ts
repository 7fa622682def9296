/**
 * DEL: device first, then the address, so that no address is handed out while its old owner may still answer to it: a
 * device that cannot be removed keeps it. The address is freed whatever becomes of entries in nf_tables: the masquerade's
 * follows the address to its next owner, and that of a port which is gone meets no frames. What is gone already is success.
 */
import { ipamType } from "../../pkg/attachment/ipam.ts";
import { removeLegacy } from "../../pkg/attachment/legacy.ts";
import { removeHostLinks, removeLink } from "../../pkg/attachment/links.ts";
import { removeMasquerade } from "../../pkg/attachment/masquerade.ts";
import { ownerOf } from "../../pkg/attachment/owner.ts";
import { delegateDel } from "../../pkg/cni/delegate.ts";
import type { Request } from "../../pkg/cni/plugin.ts";
import type { LegacyPart } from "../../pkg/kernel/legacy-names.ts";
import { openRoute } from "../../pkg/netlink/blocking.ts";
import type { System } from "../../pkg/sys/system.ts";
import { removeGuards } from "./mac-guard.ts";

export function del(request: Request): void {
  const owner = ownerOf(request);
  if (request.namespace === undefined) removeOwned(request.system, owner);
  else removeInPod(request);
  try {
    const isMasqueraded = request.config.optionalBoolean("ipMasq") === true;
    const isOurs = isMasqueraded && removeMasquerade(request.system, (mark) => mark === owner);
    if (request.config.optionalBoolean("macspoofchk") === true) removeGuards(request.system, (mark) => mark === owner);
    if (!isOurs) removeLegacy(request, legacyParts(request));
  } finally {
    const ipam = ipamType(request.config);
    if (ipam !== undefined) delegateDel(request, ipam);
  }
}

/** What the reference plugin has made with this configuration besides devices. */
function legacyParts({ config }: Request): LegacyPart[] {
  const isSet = (key: string) => config.value(key) === true;
  return [
    ...(isSet("ipMasq") ? ["masquerade" as const] : []),
    ...(isSet("macspoofchk") ? ["spoof-check" as const] : []),
  ];
}

/** Removing one end of the pair removes both. */
function removeInPod(request: Request): void {
  const pod = openRoute(request.system, request.namespace);
  try {
    removeLink(pod, request.ifName);
  } finally {
    pod.close();
  }
}

/**
 * Without a namespace to look into, the host's end is found by its mark: a runtime that has lost the path must not leave
 * a pod attached whose address is handed out again.
 */
function removeOwned(system: System, owner: string): void {
  removeHostLinks(system, ({ alias, kind }) => kind === "veth" && alias === owner);
}
