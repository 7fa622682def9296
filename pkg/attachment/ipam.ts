/** The address manager that a configuration names, as the plugins that make an interface call it. */
import type { ConfigObject } from "../cni/config.ts";
import { delegateAdd, delegateDel } from "../cni/delegate.ts";
import type { CniRequest } from "../cni/plugin.ts";
import type { Result } from "../cni/result.ts";
import type { Undo } from "../cni/undo.ts";

/** The plugin that hands out addresses; undefined where the pod is attached on layer 2 only. */
export function ipamType(object: ConfigObject): string | undefined {
  return object.object("ipam").optionalString("type") || undefined;
}

/** The addresses that `ipam` hands out for this attachment; they are given back when ADD fails later. */
export function reserveAddresses(request: CniRequest, ipam: string, undo: Undo): Result {
  const result = delegateAdd(request, ipam);
  undo.push(() => delegateDel(request, ipam));
  return result;
}
