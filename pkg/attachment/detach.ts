/**
 * DEL and GC for an attachment with a veth pair.
 *
 * The device is removed before the address is released, so no other pod gets the address while the old pod may still
 * answer to it. If the device cannot be removed, the address stays reserved. The address is released even if removing
 * nf_tables entries fails: the next owner of the address takes over the entry for masquerading, and an entry for a
 * removed port matches no frames. Removing something that no longer exists succeeds.
 *
 * The removals of nf_tables elements and of a device each wait for the kernel (`element-removal.ts`). So DEL sets the host's
 * end down, after which the pod can send nothing, removes the elements, and then the device.
 */
import { delegateDel, delegateGc } from "../cni/delegate.ts";
import type { CniRequest } from "../cni/plugin.ts";
import { ElementRemoval, type OwnElements } from "./element-removal.ts";
import { collectGarbage } from "./garbage.ts";
import { ipamType } from "./ipam.ts";
import { removeLegacy, removeLegacyGarbage } from "./legacy.ts";
import { removeHostLinks, removeLink } from "./links.ts";
import { ownMasquerade, removeMasquerade } from "./masquerade.ts";
import { inOwnPod } from "./own-pod.ts";
import { removeOwnPort } from "./own-port.ts";
import { garbageOf, ownerOf } from "./owner.ts";

/** The parts of the attachment other than devices and addresses. */
export interface Rest {
  readonly isMasqueraded: boolean;
  /** The state that the reference plugin may have created for the attachment. */
  readonly legacy: Parameters<typeof removeLegacy>[1];
  /** Other elements in nf_tables. */
  readonly elements?: readonly OwnElements[];
}

export function detach(request: CniRequest, { isMasqueraded, legacy, elements = [] }: Rest): void {
  const removal = new ElementRemoval(request.system, [...(isMasqueraded ? [ownMasquerade(request)] : []), ...elements]);
  try {
    const isRemoved = !removal.isEmpty && removeOwnPort(request, () => removal.tryRemove());
    if (!isRemoved) removePair(request);
    try {
      const isOurs = removal.remove();
      if (!isOurs) removeLegacy(request, legacy);
    } finally {
      const ipam = ipamType(request.config);
      if (ipam !== undefined) delegateDel(request, ipam);
    }
  } finally {
    removal.close();
  }
}

/** Removing one end of the pair removes both. The pod may have renamed its end, or moved it to another namespace. */
function removePair(request: CniRequest): void {
  const owner = ownerOf(request);
  let isRemoved = false;
  inOwnPod(request, (pod) => {
    isRemoved = removeLink(pod, request.ifName);
  });
  if (!isRemoved) removeHostEnds(request, (mark) => mark === owner);
}

/** What GC collects besides devices, masquerading and addresses. */
interface Garbage extends Pick<Rest, "legacy"> {
  /** Removes everything else that has the mark of a selected owner. */
  readonly remove?: (isWanted: (mark: string) => boolean) => void;
}

/** Removes only objects with weft's marks. A failure does not stop the other steps. */
export function collect(request: CniRequest, { legacy, remove }: Garbage): void {
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
 * Finds the host's end by its mark if there is no namespace to search. Otherwise, if a runtime has lost the path, the
 * pod would stay attached while its address is given to another pod.
 */
function removeHostEnds({ system }: CniRequest, isWanted: (mark: string) => boolean): void {
  removeHostLinks(system, ({ alias, kind }) => kind === "veth" && isWanted(alias));
}
