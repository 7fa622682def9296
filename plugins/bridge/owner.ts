import type { Request } from "../../pkg/cni/plugin.ts";
import { ownerMark } from "../../pkg/kernel/owner.ts";

/** The mark of a request's attachment, on its host veth and its masquerade entries. */
export function ownerOf(request: Request): string {
  return ownerMark({ network: request.network, containerId: request.containerId, ifName: request.ifName });
}
