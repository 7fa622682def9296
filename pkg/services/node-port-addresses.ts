/** On which of this node's addresses NodePorts answer. Pure. */
import { type Address, addressKey, compareAddresses, type Family } from "../ip/address.ts";
import { contains, IPV4_LOOPBACK, type Prefix, parseSubnet } from "../ip/prefix.ts";

/** `--nodeport-addresses`: all that is asked for, together. */
export interface NodePortSelection {
  /** The node's primary addresses: of each family the first InternalIP in its Node's status. */
  readonly hasPrimary: boolean;
  /** All addresses of the node but those of loopback (127.0.0.0/8, ::1) and IPv6 link-local ones. */
  readonly hasAll: boolean;
  /** 127.0.0.1 and ::1. */
  readonly hasLocalhost: boolean;
  /**
   * Addresses of the node in these, loopback excepted. A family that no range is of gets none: kube-proxy takes that for
   * all (kubernetes#122899).
   */
  readonly ranges: readonly Prefix[];
}

/** As kube-proxy's nftables mode has it by default. */
export const PRIMARY_ONLY: NodePortSelection = { hasPrimary: true, hasAll: false, hasLocalhost: false, ranges: [] };

export interface NodeAddresses {
  /** InternalIPs in the Node's status, in their order. */
  readonly internal: readonly Address[];
  /** On links of the node, of any scope; none that is tentative or a duplicate. */
  readonly local: readonly Address[];
  /**
   * True while packets to 127.0.0.1 from other hosts are dropped: only then it may be a frontend, since its connections are
   * routed off the loopback device (CVE-2020-8558). ::1 is never one: no packet from ::1 leaves the loopback device.
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

/** Of each family the first. */
function primaryAddresses(internal: readonly Address[]): Address[] {
  return ([4, 6] as const).flatMap((family: Family) => internal.find((address) => address.family === family) ?? []);
}

function isLoopback(address: Address): boolean {
  return contains(IPV4_LOOPBACK, address) || (address.family === 6 && address.value === 1n);
}
