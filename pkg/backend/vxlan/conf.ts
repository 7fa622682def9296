/** vxlan's part of net-conf.json: flannel's keys and `auto`. */
import type { ConfigObject } from "../../cni/config.ts";
import { DEFAULT_VXLAN_PORT } from "../../footprint.ts";
import type { Prefix } from "../../ip/prefix.ts";
import type { BackendConf, ConfContext } from "../contract.ts";

/** VNI and port also apply to peers that still announce vxlan, while the cluster changes to another backend. */
export interface VxlanConf extends BackendConf {
  readonly type: "vxlan";
  /** The VXLAN network identifier. */
  readonly vni: number;
  /** The UDP port. */
  readonly port: number;
  /** The underlay's MTU in bytes, if it differs from the interface's MTU. */
  readonly underlayMtu?: number | undefined;
  /** True if peers on the same link get plain routes. */
  readonly directRouting?: boolean;
}

export const DEFAULT_VNI = 1;
/**
 * The largest VNI with which the device's name, flannel.<VNI> or flannel-v6.<VNI>, has at most 15 characters, the
 * kernel's limit.
 */
export const LARGEST_VNI = { 4: 9_999_999, 6: 9_999 } as const;
/** IPv4 requires 68 and IPv6 1280 bytes within the outer headers. 65535 is the largest MTU of IP. */
export const UNDERLAY_MTU = { min: 576, max: 65_535 };

export const WORDS: readonly string[] = ["auto", "vxlan"];

export function readConf(object: ConfigObject, { type, networks }: ConfContext): VxlanConf {
  const overlay = {
    vni: object.optionalInteger("VNI", { min: 1, max: largestVni(networks) }) ?? DEFAULT_VNI,
    // flannel uses 0 for the default.
    port: object.optionalInteger("Port", { min: 0, max: 65_535 }) || DEFAULT_VXLAN_PORT,
  };
  if (!WORDS.includes(type)) return { type: "vxlan", ...overlay };
  for (const key of ["GBP", "Learning"]) {
    if (object.optionalBoolean(key) === true)
      throw object.invalid(key, "false: weft programs an entry for every peer instead of learning addresses");
  }
  return {
    type: "vxlan",
    ...overlay,
    underlayMtu: readUnderlayMtu(object),
    directRouting: type === "auto" || (object.optionalBoolean("DirectRouting") ?? false),
  };
}

export function largestVni(networks: readonly Prefix[]): number {
  return Math.min(...networks.map(({ address }) => LARGEST_VNI[address.family]));
}

function readUnderlayMtu(object: ConfigObject): number | undefined {
  const mtu = object.optionalInteger("MTU", { min: 0, max: UNDERLAY_MTU.max });
  if (mtu === undefined || mtu === 0) return undefined;
  if (mtu < UNDERLAY_MTU.min)
    throw object.invalid("MTU", `an integer from ${UNDERLAY_MTU.min} to ${UNDERLAY_MTU.max}, or 0`);
  return mtu;
}
