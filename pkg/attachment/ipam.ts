/** Calls the IPAM plugin that a configuration names, for plugins that make an interface. */
import type { ConfigObject } from "../cni/config.ts";
import { delegateAdd, delegateDel } from "../cni/delegate.ts";
import type { CniRequest } from "../cni/plugin.ts";
import type { Result } from "../cni/result.ts";
import type { Undo } from "../cni/undo.ts";

/** The type of the IPAM plugin. Undefined if the pod is attached on layer 2 only. */
export function ipamType(object: ConfigObject): string | undefined {
  return object.object("ipam").optionalString("type") || undefined;
}

/**
 * Reserves addresses from the plugin `ipam` for this attachment. Pushes an undo step that releases them if ADD fails
 * later.
 */
export function reserveAddresses(request: CniRequest, ipam: string, undo: Undo): Result {
  const result = delegateAdd(request, ipam);
  undo.push(() => delegateDel(request, ipam));
  return result;
}
