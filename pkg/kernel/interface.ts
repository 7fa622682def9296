/**
 * Configures a pod's interface from within its namespace: addresses and routes, in the order that the kernel requires.
 */
import type { Prefix } from "../ip/prefix.ts";
import type { Request } from "../netlink/message.ts";
import { addAddress } from "./address.ts";
import { joinRoute, type Route } from "./route.ts";

export interface Detection {
  /** Run duplicate address detection before the interface uses IPv6 addresses. If false, it uses them at once. */
  readonly detectsDuplicates?: boolean;
}

/**
 * Adds addresses first, because a gateway must be on a connected network, and then routes in the given order: the
 * caller puts link routes before routes by gateway. By default IPv6 addresses are usable at once, since IPAM assigned
 * each of them to this pod only. Routes are added next to those of the pod's other interfaces: a pod in two networks
 * may have a default route in each.
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
