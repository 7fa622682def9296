/**
 * Computes addresses and routes from IPAM's result for a pod with its own veth pair. To the kernel, a veth is not a
 * point-to-point link. So the pod's address keeps its subnet's length, but the pod reaches the subnet, except the
 * gateway, through the gateway: the host, which has a route for each pod. Pure.
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
  /** Addresses for the result, with the index of the container's interface. */
  readonly ips: readonly ResultAddress[];
  readonly podRoutes: readonly Route[];
  /** Addresses of the host's end: each gateway as a single address. */
  readonly hostAddresses: readonly Prefix[];
  /** Addresses that need a route on the host. */
  readonly podAddresses: readonly Address[];
}

/** The index of the container's interface in the result, after the host's end. */
export const CONTAINER_INTERFACE = 1;

/**
 * Throws `CniError` 7 for a result without addresses, and for an address without a gateway or with itself as gateway.
 */
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
    // Gateways come first: the kernel refuses routes through them before.
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
    `ipam: ptp needs a gateway for each address, and the IPAM plugin returned none for ${formatPrefix(address)}: ` +
      `configure one that the host may use, such as the first of ${formatPrefix(networkOf(address))}`,
  );
}
