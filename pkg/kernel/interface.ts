/**
 * A pod's interface from within its namespace: addresses and routes, in the order in which the kernel takes them.
 */
import type { Prefix } from "../ip/prefix.ts";
import type { Request } from "../netlink/message.ts";
import { addAddress } from "./address.ts";
import { joinRoute, type Route } from "./route.ts";

export interface Detection {
  /** IPv6 addresses are used once nobody on the link has answered to them; else at once. */
  readonly detectsDuplicates?: boolean;
}

/**
 * Addresses first, since a gateway must be on a connected network; then routes, links before gateways as given. Unless told otherwise,
 * IPv6 addresses are used at once: nobody else can have an address that IPAM gave to this pod. Routes stand beside those of
 * the pod's other interfaces: a pod in two networks may have a default route in each.
 */
export function configureInterface(
  index: number,
  addresses: readonly Prefix[],
  routes: readonly Route[],
  { detectsDuplicates = false }: Detection = {},
): Request[] {
  return [
    ...addresses.map((prefix) => addAddress({ index, prefix, skipDetection: !detectsDuplicates })),
    ...routes.map((route) => joinRoute({ ...route, outputIndex: index })),
  ];
}
