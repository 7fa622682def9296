/** Selects this node's addresses on which NodePorts answer. Pure functions. */
import { type Address, addressKey, compareAddresses, type Family } from "../ip/address.ts";
import { contains, IPV4_LOOPBACK, type Prefix, parseSubnet } from "../ip/prefix.ts";

/** The union of the values of `--nodeport-addresses`. */
export interface NodePortSelection {
  /** The node's primary addresses: the first InternalIP of each family in its Node's status. */
  readonly hasPrimary: boolean;
  /** All addresses of the node except loopback (127.0.0.0/8, ::1) and IPv6 link-local ones. */
  readonly hasAll: boolean;
  /** 127.0.0.1 and ::1. */
  readonly hasLocalhost: boolean;
  /**
   * The node's addresses in these ranges, except loopback. A family without a range gets none; kube-proxy then uses all
   * addresses of that family (kubernetes#122899).
   */
  readonly ranges: readonly Prefix[];
}

/** The default of kube-proxy's nftables mode. */
export const PRIMARY_ONLY: NodePortSelection = { hasPrimary: true, hasAll: false, hasLocalhost: false, ranges: [] };

export interface NodeAddresses {
  /** The InternalIPs in the Node's status, in order. */
  readonly internal: readonly Address[];
  /** The addresses on the node's links, of any scope; without tentative and duplicate ones. */
  readonly local: readonly Address[];
  /**
   * True while packets to 127.0.0.1 from other hosts are dropped. Only then may 127.0.0.1 be a frontend, because its
   * connections are routed out of the loopback device (CVE-2020-8558). ::1 is never a frontend: no packet from ::1
   * leaves the loopback device.
   */
  readonly isLoopbackGuarded: boolean;
}

const IPV4_LOCALHOST: Address = { family: 4, value: 0x7f00_0001n };
const IPV6_LINK_LOCAL = parseSubnet("fe80::/10");

/** Without duplicates, sorted. */
export function nodePortAddresses(selection: NodePortSelection, node: NodeAddresses): readonly Address[] {
  const { hasPrimary, hasAll, hasLocalhost, ranges } = selection;
  const isWanted = (address: Address) =>
    (hasAll && !contains(IPV6_LINK_LOCAL, address)) || ranges.some((range) => contains(range, address));
  const chosen = [
    ...(hasPrimary ? primaryAddresses(node.internal) : []),
    ...node.local.filter((address) => !isLoopback(address) && isWanted(address)),
    ...(hasLocalhost && node.isLoopbackGuarded ? [IPV4_LOCALHOST] : []),
  ];
  return [...new Map(chosen.map((address) => [addressKey(address), address])).values()].sort(compareAddresses);
}

/** The first address of each family. */
function primaryAddresses(internal: readonly Address[]): Address[] {
  return ([4, 6] as const).flatMap((family: Family) => internal.find((address) => address.family === family) ?? []);
}

function isLoopback(address: Address): boolean {
  return contains(IPV4_LOOPBACK, address) || (address.family === 6 && address.value === 1n);
}
