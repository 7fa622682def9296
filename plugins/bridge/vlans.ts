/** `vlan`, `vlanTrunk` and `preserveDefaultVlan`: what they mean for the pod's port of the bridge. Pure. */
import type { ConfigObject } from "../../pkg/cni/config.ts";
import { LAST_VLAN, type PortVlans, type VlanRange } from "../../pkg/kernel/port-vlan.ts";

export interface VlanConfig {
  /** `vlan`: the pod's own; the gateway is in it too. */
  readonly id: number | undefined;
  /** Undefined leaves the port in the bridge's default VLAN only: the trunk is stated, but empty. */
  readonly port: PortVlans | undefined;
  /** The port stays in the bridge's default VLAN besides. */
  readonly keepsDefault: boolean;
}

/** A trunk's frames without a tag belong to it, unless `vlan` names another. */
const DEFAULT_NATIVE = 1;
const VLAN_LIMITS = { min: 1, max: LAST_VLAN };

/** Undefined where neither key asks the bridge to look at VLANs. Throws `CniError` 7. */
export function vlanOptions(object: ConfigObject): VlanConfig | undefined {
  const id = object.optionalInteger("vlan", { min: 0, max: LAST_VLAN }) || undefined;
  const keepsDefault = object.optionalBoolean("preserveDefaultVlan") ?? false;
  const trunk = object.objectList("vlanTrunk").flatMap(trunkRanges);
  if (id === undefined && !object.has("vlanTrunk")) return undefined;
  const native = id ?? DEFAULT_NATIVE;
  const port = id === undefined && trunk.length === 0 ? undefined : { native, tagged: mergeRanges(trunk, native) };
  return { id, port, keepsDefault };
}

/** An entry may state a range, a single VLAN, or both. */
function trunkRanges(entry: ConfigObject): VlanRange[] {
  const first = entry.optionalInteger("minID", VLAN_LIMITS);
  const last = entry.optionalInteger("maxID", VLAN_LIMITS);
  const id = entry.optionalInteger("id", VLAN_LIMITS);
  if (first === undefined && last !== undefined) throw entry.invalid("minID", "the first VLAN of the range as well");
  if (last === undefined && first !== undefined) throw entry.invalid("maxID", "the last VLAN of the range as well");
  if (first !== undefined && last !== undefined && last < first) {
    throw entry.invalid("maxID", `a VLAN from minID (${first}) on`);
  }
  return [
    ...(first === undefined || last === undefined ? [] : [{ first, last }]),
    ...(id === undefined ? [] : [{ first: id, last: id }]),
  ];
}

/** The fewest ranges with the same VLANs but `without`, in order. */
function mergeRanges(ranges: readonly VlanRange[], without: number): VlanRange[] {
  const merged: VlanRange[] = [];
  for (let vid = 1; vid <= LAST_VLAN; vid++) {
    if (vid === without || !ranges.some(({ first, last }) => first <= vid && vid <= last)) continue;
    const previous = merged.at(-1);
    if (previous?.last === vid - 1) merged[merged.length - 1] = { first: previous.first, last: vid };
    else merged.push({ first: vid, last: vid });
  }
  return merged;
}
