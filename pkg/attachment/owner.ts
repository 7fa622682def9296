/** Owners of kernel objects: the marks of pkg/kernel/owner.ts for the attachment in a request. */
import type { CniRequest } from "../cni/plugin.ts";
import { isOfNetwork, ownerMark } from "../kernel/owner.ts";

/** Returns the mark of a request's attachment. */
export function ownerOf(request: CniRequest): string {
  return ownerMark({ network: request.network, containerId: request.containerId, ifName: request.ifName });
}

/**
 * GC: returns a function that is true for marks of this network's attachments that the runtime does not list as valid.
 * Throws `CniError` 7.
 */
export function garbageOf(request: CniRequest): (mark: string) => boolean {
  const { network } = request;
  const valid = new Set(request.validAttachments.map((attachment) => ownerMark({ network, ...attachment })));
  return (mark) => isOfNetwork(mark, network) && !valid.has(mark);
}
