/**
 * net-conf.json: the cluster's pod networks and its backend, in flannel's form (Documentation/configuration.md and
 * backends.md there). Keys match without regard to case, as Go reads them. Beyond flannel's, the backend may be "auto", or
 * be left out, which means the same: plain routes to peers on the same link, VXLAN to the others.
 */

import { ConfigObject } from "../cni/config.ts";
import { parseJsonObject } from "../cni/network.ts";
import { DEFAULT_VXLAN_PORT } from "../footprint.ts";
import { formatPrefix, isSamePrefix, networkOf, type Prefix } from "../ip/prefix.ts";
import {
  BACKEND_KEYS,
  type BackendKind,
  DEFAULT_VNI,
  LARGEST_VNI,
  NETWORK_KEYS,
  type NetConfKey,
  UNDERLAY_MTU,
} from "./net-conf-keys.ts";

export interface VxlanConf {
  readonly type: "vxlan";
  /** VXLAN network identifier. */
  readonly vni: number;
  /** UDP port. */
  readonly port: number;
  /** What the underlay carries, where it is not the interface's own MTU; bytes. */
  readonly underlayMtu: number | undefined;
  /** Peers on the same link get plain routes. */
  readonly directRouting: boolean;
}

/** VNI and port are those of peers that still announce vxlan, while the cluster changes from one to the other. */
export interface HostGwConf {
  readonly type: "host-gw";
  readonly vni: number;
  readonly port: number;
}

export type BackendType = (VxlanConf | HostGwConf)["type"];

export interface NetConf {
  /** All pods' networks, at most one of a family. */
  readonly networks: readonly Prefix[];
  readonly backend: VxlanConf | HostGwConf;
  /** What was passed over, in words, each naming the key. */
  readonly warnings: readonly string[];
}

/** Throws `CniError` 6 for what is not JSON, 7 for a value that is wrong: the message names the key. */
export function parseNetConf(text: string): NetConf {
  const object = new ConfigObject(
    parseJsonObject(new TextEncoder().encode(text), "network configuration (net-conf.json)"),
  );
  const warnings: string[] = [];
  const networks = readNetworks(object, warnings);
  const backend = object.object("Backend");
  // As flannel compares it.
  const type = (backend.optionalString("Type") || "auto").toLowerCase();
  if (type !== "auto" && type !== "vxlan" && type !== "host-gw")
    throw backend.invalid("Type", '"auto", "vxlan" or "host-gw"');
  return {
    networks,
    backend: readBackend(backend, type, networks),
    warnings: [...warnings, ...unknownKeys(object, NETWORK_KEYS), ...unknownKeys(backend, BACKEND_KEYS, type)],
  };
}

function readNetworks(object: ConfigObject, warnings: string[]): Prefix[] {
  const networks: Prefix[] = [];
  if (object.optionalBoolean("EnableIPv4") ?? true) networks.push(readNetwork(object, "Network", 4, warnings));
  if (object.optionalBoolean("EnableIPv6") ?? false) networks.push(readNetwork(object, "IPv6Network", 6, warnings));
  if (networks.length === 0) throw object.invalid("EnableIPv6", "at least one of EnableIPv4 and EnableIPv6 to be true");
  return networks;
}

/** Host bits are cleared, as flannel does. */
function readNetwork(object: ConfigObject, key: string, family: 4 | 6, warnings: string[]): Prefix {
  const prefix = object.optionalPrefix(key);
  if (prefix?.address.family !== family) throw object.invalid(key, `the pods' IPv${family} network`);
  const network = networkOf(prefix);
  if (!isSamePrefix(prefix, network))
    warnings.push(`${key}: ${formatPrefix(prefix)} has host bits set: taken as ${formatPrefix(network)}`);
  return network;
}

function readBackend(backend: ConfigObject, type: BackendKind, networks: readonly Prefix[]): VxlanConf | HostGwConf {
  const overlay = {
    vni: backend.optionalInteger("VNI", { min: 1, max: largestVni(networks) }) ?? DEFAULT_VNI,
    // 0 is flannel's spelling of the default.
    port: backend.optionalInteger("Port", { min: 0, max: 65_535 }) || DEFAULT_VXLAN_PORT,
  };
  if (type === "host-gw") return { type, ...overlay };
  for (const key of ["GBP", "Learning"]) {
    if (backend.optionalBoolean(key) === true)
      throw backend.invalid(key, "false: weft programs every peer and learns nothing");
  }
  return {
    type: "vxlan",
    ...overlay,
    underlayMtu: readUnderlayMtu(backend),
    directRouting: type === "auto" || (backend.optionalBoolean("DirectRouting") ?? false),
  };
}

export function largestVni(networks: readonly Prefix[]): number {
  return Math.min(...networks.map(({ address }) => LARGEST_VNI[address.family]));
}

function readUnderlayMtu(backend: ConfigObject): number | undefined {
  const mtu = backend.optionalInteger("MTU", { min: 0, max: UNDERLAY_MTU.max });
  if (mtu === undefined || mtu === 0) return undefined;
  if (mtu < UNDERLAY_MTU.min)
    throw backend.invalid("MTU", `an integer from ${UNDERLAY_MTU.min} to ${UNDERLAY_MTU.max}, or 0`);
  return mtu;
}

/** With `kind`, those of other backends are unknown, too. */
function unknownKeys(object: ConfigObject, known: readonly NetConfKey[], kind?: BackendKind): string[] {
  return object.keys().flatMap((key) => {
    const found = known.find(({ name }) => name.toLowerCase() === key.toLowerCase());
    if (found?.isIdle === true)
      return [`${object.pathOf(key)} has no effect: subnets are the Nodes' podCIDRs, rules are nftables`];
    const isServed = found !== undefined && (kind === undefined || found.backends?.includes(kind) !== false);
    return isServed ? [] : [`${object.pathOf(key)} is unknown and was passed over`];
  });
}
