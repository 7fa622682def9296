/**
 * What IPAM's answer means for a pod at the end of a cable. A veth is no point-to-point link to the kernel, so the pod
 * keeps its subnet's length, but reaches all of the subnet but the gateway through the gateway: the host, which has a route
 * for each pod. Pure.
 */
import { assertGatewaysAreOthers, podRoutes } from "../../pkg/attachment/routes.ts";
import { CniError, ErrorCode } from "../../pkg/cni/errors.ts";
import type { Result, ResultAddress } from "../../pkg/cni/result.ts";
import type { Address } from "../../pkg/ip/address.ts";
import { formatPrefix, isSamePrefix, networkOf, type Prefix } from "../../pkg/ip/prefix.ts";
import type { Route } from "../../pkg/kernel/route.ts";
import { RT_SCOPE } from "../../pkg/netlink/route.ts";
import { single } from "../../pkg/reconcile/routed-pods.ts";

export interface Addressing {
  /** For the result: with the index of the container's interface. */
  readonly ips: readonly ResultAddress[];
  readonly podRoutes: readonly Route[];
  /** On the host's end: each gateway as a single address. */
  readonly hostAddresses: readonly Prefix[];
  /** Each has a route on the host. */
  readonly podAddresses: readonly Address[];
}

/** Where the container's interface stands in the result: behind the host's end. */
export const CONTAINER_INTERFACE = 1;

/** Throws `CniError` 7 for an answer without addresses, or an address without a gateway that is another. */
export function planAddressing(ipam: Result): Addressing {
  if (ipam.ips.length === 0) {
    throw new CniError(ErrorCode.invalidConfig, "ipam: expected at least one address from the IPAM plugin, got none");
  }
  const ips = ipam.ips.map((ip) => ({ ...ip, gateway: gatewayOf(ip), interface: CONTAINER_INTERFACE }));
  assertGatewaysAreOthers(ips);
  const own = ips.flatMap(({ address, gateway }): Route[] => {
    const preferredSource = address.address;
    const subnet = networkOf(address);
    const toGateway = { destination: single(gateway), scope: RT_SCOPE.link, preferredSource };
    const toSubnet = { destination: subnet, gateway, preferredSource };
    return isSamePrefix(subnet, single(address.address)) ? [toGateway] : [toGateway, toSubnet];
  });
  const isFirst = (route: Route, at: number) =>
    own.findIndex(({ destination }) => isSamePrefix(destination, route.destination)) === at;
  const gateways = ips.map(({ gateway }) => single(gateway));
  return {
    ips,
    // Gateways first: routes through them are refused before.
    podRoutes: [
      ...own.filter(isFirst).sort((a, b) => Number(a.gateway !== undefined) - Number(b.gateway !== undefined)),
      ...podRoutes(ipam.routes, ips),
    ],
    hostAddresses: gateways.filter((gateway, at) => gateways.findIndex((other) => isSamePrefix(other, gateway)) === at),
    podAddresses: ips.map(({ address }) => address.address),
  };
}

function gatewayOf({ address, gateway }: ResultAddress): Address {
  if (gateway !== undefined) return gateway;
  throw new CniError(
    ErrorCode.invalidConfig,
    `ipam: ptp needs a gateway beside each address, and the IPAM plugin gave none for ${formatPrefix(address)}: ` +
      `state one that the host may have, such as the first of ${formatPrefix(networkOf(address))}`,
  );
}
