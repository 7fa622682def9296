/**
 * Plans the state of the pods' bridge for the node's former subnets, while pods still have addresses in them. Pure
 * functions.
 *
 * While no other node has such a subnet, the bridge keeps the gateway's address and its connected route. When another
 * node gets the subnet, the route to that node must apply. The gateway's address then stays as a single address,
 * because pods still use it. With the subnet's length it would bring back the connected route, and the broadcast and
 * anycast addresses that may be the other node's VTEP addresses. Each running pod then has a route of its own.
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
  /** The gateway's address, with the subnet's length. */
  readonly gateway: Prefix;
  /** `subnet`: with its connected route. `single`: only the address. */
  readonly held: "subnet" | "single" | "none";
}

export interface RetainedGateways {
  readonly gateways: readonly FormerGateway[];
  /** The addresses of pods that need a route each. */
  readonly hosts: readonly Address[];
}

export interface FormerPlan {
  readonly requests: readonly Request[];
  /** False if an address changes: the kernel adds and removes routes with it, so the state must be observed again. */
  readonly isComplete: boolean;
}

/** `current` are the gateways of the node's current subnets. */
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
    // A pod's own route is added before the subnet's route is removed, and stays until that route is back.
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
  // An IPv6 address exists only once on a link, whatever its length.
  return gateway.address.family === 4 ? [addition, ...removals] : [...removals, addition];
}
