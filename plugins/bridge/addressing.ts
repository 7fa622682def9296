/**
 * What IPAM's answer means for a pod behind a bridge: gateways for the bridge, addresses and routes for the pod. Pure.
 */

import { CniError, ErrorCode } from "../../pkg/cni/errors.ts";
import type { Result, ResultAddress, ResultRoute } from "../../pkg/cni/result.ts";
import { type Address, type Family, isSameAddress } from "../../pkg/ip/address.ts";
import { firstHost, isSamePrefix, networkOf, type Prefix } from "../../pkg/ip/prefix.ts";
import type { Route } from "../../pkg/kernel/route.ts";
import type { BridgeConfig } from "./config.ts";

export interface Addressing {
  /** For the result: with gateways, and the index of the container's interface. */
  readonly ips: readonly ResultAddress[];
  /** For the result: IPAM's routes and, with `isDefaultGateway`, default routes. */
  readonly routes: readonly ResultRoute[];
  /** What the bridge must hold: each gateway with its network's length. Empty unless the bridge is a gateway. */
  readonly gateways: readonly Prefix[];
}

/** Where the container's interface stands in the result: behind the bridge and the host's end. */
export const CONTAINER_INTERFACE = 2;

export function planAddressing(ipam: Result, config: BridgeConfig): Addressing {
  if (ipam.ips.length === 0) {
    throw new CniError(ErrorCode.invalidConfig, "ipam: expected at least one address from the IPAM plugin, got none");
  }
  const ips = ipam.ips.map((ip) => withGateway(ip, config));
  if (config.isGateway) assertGatewaysAreOthers(ips);
  const gateways = !config.isGateway
    ? []
    : unique(
        ips.flatMap((ip) => (ip.gateway === undefined ? [] : [{ address: ip.gateway, length: ip.address.length }])),
      );
  return {
    ips,
    gateways,
    routes: [...ipam.routes, ...(config.isDefaultGateway ? defaultRoutes(ips, ipam.routes) : [])],
  };
}

/** A gateway that IPAM did not name is the first address of the network. */
function withGateway(ip: ResultAddress, config: BridgeConfig): ResultAddress {
  const gateway = ip.gateway ?? (config.isGateway ? firstHost(networkOf(ip.address)) : undefined);
  return { ...ip, interface: CONTAINER_INTERFACE, ...(gateway === undefined ? {} : { gateway }) };
}

/** One a family, by its first gateway, unless IPAM has given one already (that one is then the operator's wish). */
function defaultRoutes(ips: readonly ResultAddress[], given: readonly ResultRoute[]): ResultRoute[] {
  return ([4, 6] as const).flatMap((family) => {
    const gateway = gatewayOf(ips, family);
    const dst: Prefix = { address: { family, value: 0n }, length: 0 };
    if (gateway === undefined || given.some((route) => isSamePrefix(route.dst, dst))) return [];
    return [{ dst, gw: gateway }];
  });
}

/** The routes as the kernel gets them: one without a gateway of its own goes by that of its family's first address. */
export function podRoutes(routes: readonly ResultRoute[], ips: readonly ResultAddress[]): Route[] {
  return routes.map((route) => ({
    destination: route.dst,
    gateway: route.scope === LINK_SCOPE ? route.gw : (route.gw ?? gatewayOf(ips, route.dst.address.family)),
    mtu: route.mtu,
    advmss: route.advmss,
    priority: route.priority,
    table: route.table,
    scope: route.scope,
  }));
}

/** RT_SCOPE_LINK: the destination is on the link itself, so no gateway is put in. */
const LINK_SCOPE = 253;

function gatewayOf(ips: readonly ResultAddress[], family: Family): Address | undefined {
  return ips.find((ip) => ip.gateway?.family === family)?.gateway;
}

function unique(prefixes: readonly Prefix[]): Prefix[] {
  return prefixes.filter((prefix, at) => prefixes.findIndex((other) => isSamePrefix(other, prefix)) === at);
}

/** A bridge and its pod with the same address: neither would be reached. */
function assertGatewaysAreOthers(ips: readonly ResultAddress[]): void {
  for (const { address, gateway } of ips) {
    if (gateway !== undefined && isSameAddress(address.address, gateway)) {
      throw new CniError(
        ErrorCode.invalidConfig,
        "ipam: the pod was given its own gateway's address: correct the range",
      );
    }
  }
}
