/**
 * net-conf.json: the cluster's pod networks and its backend, in flannel's form (Documentation/configuration.md and
 * backends.md there). Keys match without regard to case, as Go reads them. Beyond flannel's, the backend may be "auto", or
 * be left out, which means the same: plain routes to peers on the same link, VXLAN to the others.
 */
import { ConfigObject } from "../cni/config.ts";
import { parseJsonObject } from "../cni/network.ts";
import type { Prefix } from "../ip/prefix.ts";

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

/** flannel's default; the kernel's own, too, which predates the assigned port 4789. */
export const DEFAULT_VXLAN_PORT = 8472;
export const DEFAULT_VNI = 1;
/** What still fits the device's name, flannel.<VNI> or flannel-v6.<VNI>, which the kernel ends at 15 characters. */
const LARGEST_VNI = { 4: 9_999_999, 6: 9_999 } as const;
/** IPv4 asks for 68 and IPv6 for 1280 bytes behind the outer headers; 65535 is what IP can say. */
const UNDERLAY_MTU = { min: 576, max: 65_535 };

/** Served at the top. */
const TOP_KEYS = ["Network", "IPv6Network", "EnableIPv4", "EnableIPv6", "Backend"];
/** flannel's keys without effect here: subnets come from Node.spec.podCIDRs, and rules are always nftables'. */
const IDLE_KEYS = [
  "SubnetLen",
  "SubnetMin",
  "SubnetMax",
  "IPv6SubnetLen",
  "IPv6SubnetMin",
  "IPv6SubnetMax",
  "EnableNFTables",
];
const BACKEND_KEYS = {
  vxlan: ["Type", "VNI", "Port", "MTU", "DirectRouting", "GBP", "Learning"],
  auto: ["Type", "VNI", "Port", "MTU", "GBP", "Learning"],
  "host-gw": ["Type", "VNI", "Port"],
} as const;

/** Throws `CniError` 6 for what is not JSON, 7 for a value that is wrong: the message names the key. */
export function parseNetConf(text: string): NetConf {
  const object = new ConfigObject(
    parseJsonObject(new TextEncoder().encode(text), "network configuration (net-conf.json)"),
  );
  const networks = readNetworks(object);
  const backend = object.object("Backend");
  const type = backend.optionalString("Type") || "auto";
  if (type !== "auto" && type !== "vxlan" && type !== "host-gw")
    throw backend.invalid("Type", '"auto", "vxlan" or "host-gw"');
  return {
    networks,
    backend: readBackend(backend, type, networks),
    warnings: [...unknownKeys(object, TOP_KEYS, IDLE_KEYS), ...unknownKeys(backend, BACKEND_KEYS[type], [])],
  };
}

function readNetworks(object: ConfigObject): Prefix[] {
  const networks: Prefix[] = [];
  if (object.optionalBoolean("EnableIPv4") ?? true) networks.push(readNetwork(object, "Network", 4));
  if (object.optionalBoolean("EnableIPv6") ?? false) networks.push(readNetwork(object, "IPv6Network", 6));
  if (networks.length === 0) throw object.invalid("EnableIPv6", "at least one of EnableIPv4 and EnableIPv6 to be true");
  return networks;
}

function readNetwork(object: ConfigObject, key: string, family: 4 | 6): Prefix {
  const network = object.optionalSubnet(key);
  if (network?.address.family !== family) throw object.invalid(key, `the pods' IPv${family} network`);
  return network;
}

function readBackend(
  backend: ConfigObject,
  type: keyof typeof BACKEND_KEYS,
  networks: readonly Prefix[],
): VxlanConf | HostGwConf {
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

function unknownKeys(object: ConfigObject, served: readonly string[], idle: readonly string[]): string[] {
  const has = (list: readonly string[], key: string) => list.some((known) => known.toLowerCase() === key.toLowerCase());
  return object.keys().flatMap((key) => {
    if (has(served, key)) return [];
    if (has(idle, key))
      return [`${object.pathOf(key)} has no effect: subnets are the Nodes' podCIDRs, rules are nftables`];
    return [`${object.pathOf(key)} is unknown and was passed over`];
  });
}
