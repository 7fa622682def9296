/**
 * DEL and GC of what hangs on a veth pair. The device goes first, then the address, so that no address is handed out while
 * its old owner may still answer to it: a device that cannot be removed keeps it. The address is freed whatever becomes of
 * entries in nf_tables: the masquerade's follows the address to its next owner, and that of a port which is gone meets no
 * frames. What is gone already is success.
 */
import { delegateDel, delegateGc } from "../cni/delegate.ts";
import type { CniRequest } from "../cni/plugin.ts";
import { collectGarbage } from "./garbage.ts";
import { ipamType } from "./ipam.ts";
import { removeLegacy, removeLegacyGarbage } from "./legacy.ts";
import { removeHostLinks, removeLink } from "./links.ts";
import { removeMasquerade } from "./masquerade.ts";
import { inOwnPod } from "./own-pod.ts";
import { garbageOf, ownerOf } from "./owner.ts";

/** What of the attachment is elsewhere than in devices and addresses. */
export interface Rest {
  readonly isMasqueraded: boolean;
  /** What the reference plugin has made for it besides. */
  readonly legacy: Parameters<typeof removeLegacy>[1];
  /** Removes what else carries the owner's mark. */
  readonly remove?: (isWanted: (mark: string) => boolean) => void;
}

export function detach(request: CniRequest, { isMasqueraded, legacy, remove }: Rest): void {
  const owner = ownerOf(request);
  const isOwn = (mark: string) => mark === owner;
  // Removing one end of the pair removes both. The pod may have given its end another name, or hold it elsewhere.
  let isRemoved = false;
  inOwnPod(request, (pod) => {
    isRemoved = removeLink(pod, request.ifName);
  });
  if (!isRemoved) removeHostEnds(request, isOwn);
  try {
    const isOurs = isMasqueraded && removeMasquerade(request.system, isOwn);
    remove?.(isOwn);
    if (!isOurs) removeLegacy(request, legacy);
  } finally {
    const ipam = ipamType(request.config);
    if (ipam !== undefined) delegateDel(request, ipam);
  }
}

/** Only objects with our owner's mark; one failure does not stop the rest. */
export function collect(request: CniRequest, { legacy, remove }: Omit<Rest, "isMasqueraded">): void {
  const isGarbage = garbageOf(request);
  const ipam = ipamType(request.config);
  collectGarbage(request, [
    () => removeHostEnds(request, isGarbage),
    () => removeMasquerade(request.system, isGarbage),
    () => remove?.(isGarbage),
    () => removeLegacyGarbage(request, legacy),
    () => (ipam === undefined ? undefined : delegateGc(request, ipam)),
  ]);
}

/**
 * Without a namespace to look into, the host's end is found by its mark: a runtime that has lost the path must not leave
 * a pod attached whose address is handed out again.
 */
function removeHostEnds({ system }: CniRequest, isWanted: (mark: string) => boolean): void {
  removeHostLinks(system, ({ alias, kind }) => kind === "veth" && isWanted(alias));
}
