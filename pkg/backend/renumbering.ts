/**
 * Handles a Node that was deleted and registered again with other podCIDRs while its pods kept running. Finds the pods
 * with addresses outside the node's subnets, and the addresses and routes that the host keeps for them until they are
 * restarted. Pure.
 */

import { type Address, addressBits, isSameAddress } from "../ip/address.ts";
import { contains, firstHost, isSamePrefix, networkOf, overlaps, type Prefix } from "../ip/prefix.ts";
import { ownerMark } from "../kernel/owner.ts";
import type { KernelSnapshot } from "../kernel/snapshot.ts";
import { RT_SCOPE } from "../netlink/route.ts";
import type { FormerGateway, RetainedGateways } from "../reconcile/former-gateways.ts";

/** A reservation of host-local. */
export interface Reserved {
  readonly address: Address;
  readonly containerId: string;
  readonly ifName: string | undefined;
}

/** A running pod whose address is in none of its node's subnets. */
export interface OutsidePod {
  readonly address: Address;
  /** The mark on the host's end of its link. */
  readonly mark: string;
  /** False if the pod has its own link (ptp) with its own route. */
  readonly isBridged: boolean;
}

export interface NodeNumbers {
  readonly network: string;
  /** The bridge's name. Undefined if pods are attached without a bridge. */
  readonly bridge: string | undefined;
  /** The marks of pods that have their own links. */
  readonly routed: ReadonlySet<string>;
  /** This node's pod subnets. */
  readonly subnets: readonly Prefix[];
  /** The known former subnets of this node in this boot. */
  readonly former: readonly Prefix[];
  /** The subnets of peers to which this node has routes. */
  readonly peerSubnets: readonly Prefix[];
}

export interface Renumbering {
  readonly outside: readonly OutsidePod[];
  /** `NodeNumbers.former`, and former subnets that were only recognised by the bridge and its pods. */
  readonly former: readonly Prefix[];
  readonly retained: RetainedGateways;
}

/**
 * True if the bridge has an address that is not a gateway of `subnets`: one of a former subnet or of another program.
 */
export function hasOtherAddress(
  { bridge, subnets }: Pick<NodeNumbers, "bridge" | "subnets">,
  observed: KernelSnapshot,
) {
  return otherAddresses(bridge, subnets, observed).length > 0;
}

export function renumberingOf(node: NodeNumbers, reserved: readonly Reserved[], observed: KernelSnapshot): Renumbering {
  const { subnets, peerSubnets } = node;
  const outside = podsOutside(node, reserved, observed);
  // The gateway of running pods belongs to the network even if its subnet was not recorded.
  const shown = otherAddresses(node.bridge, subnets, observed)
    .filter((prefix) => prefix.length < addressBits(prefix.address.family) && isFirstHost(prefix))
    .filter((prefix) => outside.some(({ address }) => contains(prefix, address)))
    .map(networkOf)
    .filter((subnet) => !node.former.some((known) => isSamePrefix(known, subnet)));
  const former = [...node.former, ...shown];
  const gateways = former.map((subnet): FormerGateway & { readonly subnet: Prefix } => {
    const gateway = { address: firstHost(subnet), length: subnet.length };
    const isUsed = outside.some(({ address, isBridged }) => isBridged && contains(subnet, address));
    const isCurrent = subnets.some((current) => isSameAddress(firstHost(current), gateway.address));
    const isTaken = peerSubnets.some((taken) => overlaps(taken, subnet));
    return { subnet, gateway, held: !isUsed || isCurrent ? "none" : isTaken ? "single" : "subnet" };
  });
  const isConnected = (address: Address) =>
    gateways.some(({ subnet, held }) => held === "subnet" && contains(subnet, address));
  const hosts = outside.filter(({ address, isBridged }) => isBridged && !isConnected(address));
  return {
    outside,
    former,
    retained: {
      gateways: gateways.map(({ gateway, held }) => ({ gateway, held })),
      hosts: hosts.map(({ address }) => address),
    },
  };
}

/**
 * A reservation may outlive its pod (after a reboot or a lost DEL), so it counts only if a link has its mark. The
 * reference plugins set no mark: while a port of the bridge has none, any reservation may be its pod's.
 */
function podsOutside(
  { network, bridge, routed, subnets }: NodeNumbers,
  reserved: readonly Reserved[],
  { links }: KernelSnapshot,
): OutsidePod[] {
  const elsewhere = reserved.filter(({ address }) => !subnets.some((subnet) => contains(subnet, address)));
  if (elsewhere.length === 0) return [];
  const index = links.find(({ name }) => name === bridge)?.index;
  const ends = new Set(links.map(({ alias }) => alias));
  const hasUnmarked =
    index !== undefined &&
    links.some((link) => link.masterIndex === index && link.kind === "veth" && link.alias === "");
  return elsewhere.flatMap(({ address, containerId, ifName }): OutsidePod[] => {
    // Reserved by hand: it belongs to no pod.
    if (ifName === undefined) return [];
    const mark = ownerMark({ network, containerId, ifName });
    if (!ends.has(mark)) return hasUnmarked ? [{ address, mark, isBridged: true }] : [];
    return [{ address, mark, isBridged: bridge !== undefined && !routed.has(mark) }];
  });
}

function otherAddresses(bridge: string | undefined, subnets: readonly Prefix[], observed: KernelSnapshot): Prefix[] {
  const link = observed.links.find(({ name, kind }) => name === bridge && kind === "bridge");
  if (link === undefined) return [];
  const isGateway = (prefix: Prefix) =>
    subnets.some((subnet) => subnet.length === prefix.length && isSameAddress(firstHost(subnet), prefix.address));
  return observed.addresses
    .filter(({ index, scope, prefix }) => index === link.index && scope === RT_SCOPE.universe && !isGateway(prefix))
    .map(({ prefix }) => prefix);
}

function isFirstHost(prefix: Prefix): boolean {
  return isSameAddress(prefix.address, firstHost(prefix));
}
