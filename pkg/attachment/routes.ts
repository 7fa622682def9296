/** A result's routes as the kernel gets them. Pure. */
import { CniError, ErrorCode } from "../cni/errors.ts";
import type { ResultAddress, ResultRoute } from "../cni/result.ts";
import { type Address, type Family, isSameAddress } from "../ip/address.ts";
import type { Route } from "../kernel/route.ts";

/** One without a gateway of its own goes by that of its family's first address. */
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
 * What CHECK holds a result's routes to. Like the reference it compares a gateway only where the route states one, and
 * never that of a default route: a plugin behind in the chain, or the pod, may have put another way there. The reference
 * prints mtu and advmss and does not set them: routes that it made have neither.
 */
export function statedRoutes(routes: readonly ResultRoute[]): Route[] {
  return routes.map(({ dst, gw, priority, table }) => ({
    destination: dst,
    // To the kernel a gateway of zero is none.
    gateway: dst.length === 0 || gw?.value === 0n ? undefined : gw,
    priority,
    table,
  }));
}

/** RT_SCOPE_LINK: the destination is on the link itself, so no gateway is put in. */
const LINK_SCOPE = 253;

/** The gateway of the first address of this family that has one. */
export function gatewayOf(ips: readonly ResultAddress[], family: Family): Address | undefined {
  return ips.find((ip) => ip.gateway?.family === family)?.gateway;
}

/** A gateway and its pod with the same address: neither would be reached. Throws `CniError` 7. */
export function assertGatewaysAreOthers(ips: readonly ResultAddress[]): void {
  for (const { address, gateway } of ips) {
    if (gateway !== undefined && isSameAddress(address.address, gateway)) {
      throw new CniError(
        ErrorCode.invalidConfig,
        "ipam: the pod was given its own gateway's address: correct the range",
      );
    }
  }
}
