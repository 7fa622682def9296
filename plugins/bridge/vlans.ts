/** Parses `vlan`, `vlanTrunk` and `preserveDefaultVlan` into the VLANs of the pod's port. Pure. */
import type { ConfigObject } from "../../pkg/cni/config.ts";
import { LAST_VLAN, type PortVlans, type VlanRange } from "../../pkg/kernel/port-vlan.ts";

export interface VlanConfig {
  /** `vlan`: the pod's VLAN. The gateway is in it, too. */
  readonly id: number | undefined;
  /** Undefined if the port stays in the bridge's default VLAN only: the trunk is configured, but empty. */
  readonly port: PortVlans | undefined;
  /** True if the port also stays in the bridge's default VLAN. */
  readonly keepsDefault: boolean;
}

/** The VLAN of a trunk's untagged frames, unless `vlan` is set. */
const DEFAULT_NATIVE = 1;
const VLAN_LIMITS = { min: 1, max: LAST_VLAN };

/** Undefined if neither key requires VLAN filtering. Throws `CniError` 7. */
export function vlanOptions(object: ConfigObject): VlanConfig | undefined {
  const id = object.optionalInteger("vlan", { min: 0, max: LAST_VLAN }) || undefined;
  const keepsDefault = object.optionalBoolean("preserveDefaultVlan") ?? false;
  const trunk = object.objectList("vlanTrunk").flatMap(trunkRanges);
  if (id === undefined && !object.has("vlanTrunk")) return undefined;
  const native = id ?? DEFAULT_NATIVE;
  const port = id === undefined && trunk.length === 0 ? undefined : { native, tagged: mergeRanges(trunk, native) };
  return { id, port, keepsDefault };
}

/** Parses an entry, which may have a range, a single VLAN, or both. */
function trunkRanges(entry: ConfigObject): VlanRange[] {
  const first = entry.optionalInteger("minID", VLAN_LIMITS);
  const last = entry.optionalInteger("maxID", VLAN_LIMITS);
  const id = entry.optionalInteger("id", VLAN_LIMITS);
  if (first === undefined && last !== undefined) throw entry.invalid("minID", "the first VLAN of the range");
  if (last === undefined && first !== undefined) throw entry.invalid("maxID", "the last VLAN of the range");
  if (first !== undefined && last !== undefined && last < first) {
    throw entry.invalid("maxID", `a VLAN of at least minID (${first})`);
  }
  return [
    ...(first === undefined || last === undefined ? [] : [{ first, last }]),
    ...(id === undefined ? [] : [{ first: id, last: id }]),
  ];
}

/** Returns the smallest list of ranges with the same VLANs except `without`, in order. */
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
