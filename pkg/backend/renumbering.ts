/**
 * A Node that was deleted and registered anew with other podCIDRs, while its pods went on running: which of them have
 * addresses outside the node's subnets, and what the host keeps for them until they are started anew. Pure.
 */

import { type Address, addressBits, isSameAddress } from "../ip/address.ts";
import { contains, firstHost, isSamePrefix, networkOf, overlaps, type Prefix } from "../ip/prefix.ts";
import { ownerMark } from "../kernel/owner.ts";
import type { KernelSnapshot } from "../kernel/snapshot.ts";
import { RT_SCOPE } from "../netlink/route.ts";
import type { FormerGateway, RetainedGateways } from "../reconcile/former-gateways.ts";

/** An address as host-local has written it down. */
export interface Reserved {
  readonly address: Address;
  readonly containerId: string;
  readonly ifName: string | undefined;
}

/** A pod that runs, by the address that no subnet of its node has. */
export interface OutsidePod {
  readonly address: Address;
  /** The mark that the host's end of its link carries. */
  readonly mark: string;
  /** False where it has a link of its own (ptp), which has its own route. */
  readonly isBridged: boolean;
}

export interface NodeNumbers {
  readonly network: string;
  /** The bridge's name; undefined where pods are attached without one. */
  readonly bridge: string | undefined;
  /** Marks of pods that have links of their own. */
  readonly routed: ReadonlySet<string>;
  /** This node's pod subnets. */
  readonly subnets: readonly Prefix[];
  /** Those it had before in this boot, as far as that is known. */
  readonly former: readonly Prefix[];
  /** Subnets of peers that this node has routes to. */
  readonly peerSubnets: readonly Prefix[];
}

export interface Renumbering {
  readonly outside: readonly OutsidePod[];
  /** `NodeNumbers.former`, and those that only the bridge and the pods on it still show. */
  readonly former: readonly Prefix[];
  readonly retained: RetainedGateways;
}

/** True when the bridge has an address that is no gateway of `subnets`: an earlier subnet's, or a stranger's. */
export function hasOtherAddress(
  { bridge, subnets }: Pick<NodeNumbers, "bridge" | "subnets">,
  observed: KernelSnapshot,
) {
  return otherAddresses(bridge, subnets, observed).length > 0;
}

export function renumberingOf(node: NodeNumbers, reserved: readonly Reserved[], observed: KernelSnapshot): Renumbering {
  const { subnets, peerSubnets } = node;
  const outside = podsOutside(node, reserved, observed);
  // The gateway of pods that run is the network's own, also where no memory of its subnet is left.
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
 * A reservation may outlive its pod (a reboot, a lost DEL), so it counts where a link carries its mark. The reference's
 * plugins leave no mark: while a port of the bridge has none, it may be any pod's.
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
    // Made by hand: no pod's.
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
