/** Converts a result's routes to kernel routes. Pure. */
import { CniError, ErrorCode } from "../cni/errors.ts";
import type { ResultAddress, ResultRoute } from "../cni/result.ts";
import { type Address, type Family, isSameAddress } from "../ip/address.ts";
import type { Route } from "../kernel/route.ts";

/** A route without a gateway gets the gateway of the first address of its family. */
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

/**
 * Returns the routes that CHECK requires for a result. As in the reference plugins, a gateway is compared only if the
 * route names one, and never for a default route: a later plugin in the chain, or the pod, may have replaced it. The
 * reference plugins print mtu and advmss without setting them, so routes that they made have neither.
 */
export function statedRoutes(routes: readonly ResultRoute[]): Route[] {
  return routes.map(({ dst, gw, priority, table }) => ({
    destination: dst,
    // The kernel treats a gateway of zero as no gateway.
    gateway: dst.length === 0 || gw?.value === 0n ? undefined : gw,
    priority,
    table,
  }));
}

/** RT_SCOPE_LINK: the destination is on the link itself, so no gateway is added. */
const LINK_SCOPE = 253;

/** Returns the gateway of the first address of this family that has one. */
export function gatewayOf(ips: readonly ResultAddress[], family: Family): Address | undefined {
  return ips.find((ip) => ip.gateway?.family === family)?.gateway;
}

/** Throws `CniError` 7 if an address is its own gateway: neither the pod nor the gateway would be reachable. */
export function assertGatewaysAreOthers(ips: readonly ResultAddress[]): void {
  for (const { address, gateway } of ips) {
    if (gateway !== undefined && isSameAddress(address.address, gateway)) {
      throw new CniError(
        ErrorCode.invalidConfig,
        "ipam: the IPAM plugin gave the pod the address of its gateway: exclude the gateway from the range",
      );
    }
  }
}
