/**
 * What the pods' bridge keeps for subnets that the node had before, while pods still have addresses of them. Pure.
 *
 * While no other node has such a subnet, the bridge keeps the gateway's address with its route. Once another node has
 * it, that node's route has to stand: the gateway's address stays alone (pods ask for it, and an address of the subnet's
 * length would bring the connected route back, with the broadcast and anycast addresses that may be the other node's
 * VTEP's), and each pod that still runs has a route of its own.
 */

import { RTPROT_WEFT } from "../footprint.ts";
import { type Address, addressBits, isSameAddress } from "../ip/address.ts";
import { isSamePrefix, type Prefix } from "../ip/prefix.ts";
import { addAddress, deleteAddress } from "../kernel/address.ts";
import type { Link } from "../kernel/link.ts";
import { addRoute, deleteRoute } from "../kernel/route.ts";
import type { KernelSnapshot } from "../kernel/snapshot.ts";
import type { Request } from "../netlink/message.ts";
import { RT_SCOPE, RT_TABLE_MAIN } from "../netlink/route.ts";
import { single } from "./routed-pods.ts";

export interface FormerGateway {
  /** Its address, with the subnet's length. */
  readonly gateway: Prefix;
  /** `subnet`: with its connected route. `single`: the address alone. */
  readonly held: "subnet" | "single" | "none";
}

export interface RetainedGateways {
  readonly gateways: readonly FormerGateway[];
  /** Addresses of pods that have a route each. */
  readonly hosts: readonly Address[];
}

export interface FormerPlan {
  readonly requests: readonly Request[];
  /** False where an address changes: the kernel makes and removes routes with it, which have to be seen first. */
  readonly isComplete: boolean;
}

/** `current` are the gateways of the subnets that the node has now. */
export function planFormerGateways(
  { gateways, hosts }: RetainedGateways,
  current: readonly Prefix[],
  bridge: Link,
  observed: KernelSnapshot,
): FormerPlan {
  const byBridge = observed.routes.filter(
    ({ table, outputIndex, gateway, destination }) =>
      table === RT_TABLE_MAIN &&
      outputIndex === bridge.index &&
      gateway === undefined &&
      destination.length === addressBits(destination.address.family),
  );
  const isLed = (host: Address) => byBridge.some(({ destination }) => isSameAddress(destination.address, host));
  const isWanted = (host: Address) => hosts.some((wanted) => isSameAddress(wanted, host));
  const addresses = gateways.flatMap((former) => planAddress(former, current, bridge, observed));
  return {
    // A route of its own comes before the one to the subnet goes, and stays until that is back.
    requests: [
      ...hosts.filter((host) => bridge.isUp && !isLed(host)).map((host) => addRoute(hostRoute(host, bridge))),
      ...addresses,
      ...(addresses.length > 0
        ? []
        : byBridge
            .filter(({ protocol, destination }) => protocol === RTPROT_WEFT && !isWanted(destination.address))
            .map(({ destination }) => deleteRoute(hostRoute(destination.address, bridge)))),
    ],
    isComplete: addresses.length === 0,
  };
}

function hostRoute(address: Address, { index }: Link) {
  return { destination: single(address), outputIndex: index, protocol: RTPROT_WEFT };
}

function planAddress(
  { gateway, held }: FormerGateway,
  current: readonly Prefix[],
  { index }: Link,
  { addresses }: KernelSnapshot,
): Request[] {
  const found = addresses
    .filter((one) => one.index === index && one.scope === RT_SCOPE.universe)
    .map(({ prefix }) => prefix)
    .filter((prefix) => isSameAddress(prefix.address, gateway.address))
    .filter((prefix) => !current.some((one) => isSamePrefix(one, prefix)));
  // The kernel takes a subnet's first address for broadcast before Linux 5.14, and for anycast with IPv6.
  const wanted = held === "none" ? undefined : held === "single" ? single(gateway.address) : gateway;
  const isWanted = (prefix: Prefix) => wanted !== undefined && isSamePrefix(prefix, wanted);
  const removals = found.filter((prefix) => !isWanted(prefix)).map((prefix) => deleteAddress(index, prefix));
  if (wanted === undefined || found.some(isWanted)) return removals;
  const addition = addAddress({ index, prefix: wanted, skipDetection: true });
  // IPv6 has an address once on a link, whatever its length.
  return gateway.address.family === 4 ? [addition, ...removals] : [...removals, addition];
}
