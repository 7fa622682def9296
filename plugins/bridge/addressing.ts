/** Computes from IPAM's result the gateways for the bridge, and addresses and routes for the pod. Pure. */

import { assertGatewaysAreOthers, gatewayOf } from "../../pkg/attachment/routes.ts";
import { CniError, ErrorCode } from "../../pkg/cni/errors.ts";
import type { Result, ResultAddress, ResultRoute } from "../../pkg/cni/result.ts";
import { type Address, addressBits, isSameAddress } from "../../pkg/ip/address.ts";
import { isSamePrefix, networkOf, type Prefix } from "../../pkg/ip/prefix.ts";
import type { BridgeConfig } from "./config.ts";

export interface Addressing {
  /** Addresses for the result, with gateways and the index of the container's interface. */
  readonly ips: readonly ResultAddress[];
  /** Routes for the result: IPAM's and, with `isDefaultGateway`, default routes. */
  readonly routes: readonly ResultRoute[];
  /**
   * Addresses that the bridge must have: each gateway with its network's length. Empty unless the bridge is a gateway.
   */
  readonly gateways: readonly Prefix[];
}

type GatewayConfig = Pick<BridgeConfig, "isGateway" | "isDefaultGateway">;

/** The index of the container's interface in the result, after the bridge and the host's end. */
export const CONTAINER_INTERFACE = 2;

export function planAddressing(ipam: Result, config: GatewayConfig): Addressing {
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

function withGateway(ip: ResultAddress, config: GatewayConfig): ResultAddress {
  const gateway = ip.gateway ?? (config.isGateway ? usualGateway(ip.address) : undefined);
  return { ...ip, interface: CONTAINER_INTERFACE, ...(gateway === undefined ? {} : { gateway }) };
}

/**
 * Returns the gateway of a pod if IPAM returned none: the address after the network's own, as the reference does, even
 * if it is outside the network (of a single address). If the pod has that address in a network of two, the gateway gets
 * the other.
 */
function usualGateway(pod: Prefix): Address | undefined {
  const network = networkOf(pod).address;
  const bits = addressBits(network.family);
  const next = { family: network.family, value: network.value + 1n };
  if (pod.length === bits - 1 && isSameAddress(next, pod.address)) return network;
  return next.value >> BigInt(bits) === 0n ? next : undefined;
}

/**
 * Returns one default route for each family, through its first gateway, unless IPAM returned a default route, which is
 * the operator's choice.
 */
function defaultRoutes(ips: readonly ResultAddress[], given: readonly ResultRoute[]): ResultRoute[] {
  return ([4, 6] as const).flatMap((family) => {
    const gateway = gatewayOf(ips, family);
    const dst: Prefix = { address: { family, value: 0n }, length: 0 };
    if (gateway === undefined || given.some((route) => isSamePrefix(route.dst, dst))) return [];
    return [{ dst, gw: gateway }];
  });
}

function unique(prefixes: readonly Prefix[]): Prefix[] {
  return prefixes.filter((prefix, at) => prefixes.findIndex((other) => isSamePrefix(other, prefix)) === at);
}
