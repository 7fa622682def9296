/**
 * Limits for some remote subnets only. A bucket at the device itself would take all packets. So each direction has an
 * ifb device with the bucket, and filters that redirect to it:
 *
 * - shapedSubnets: packets of these subnets go to the ifb device, all others pass
 * - unshapedSubnets: packets of these subnets pass, all others go to the ifb device
 *
 * After the ifb device, packets continue at the hook at which they were redirected.
 */
import { EGRESS_IFB_START, INGRESS_IFB_START } from "../../pkg/footprint.ts";
import type { Link } from "../../pkg/kernel/link.ts";
import type { Hook, Limit, SubnetFilter } from "../../pkg/kernel/traffic-control.ts";
import type { Bandwidth, Subnets } from "./config.ts";
import type { IfbRole } from "./devices.ts";

/** A limited direction. */
export interface Way {
  readonly role: IfbRole;
  /** The hook of the host's end of the veth pair. Packets from the pod arrive there, packets to the pod leave there. */
  readonly hook: Hook;
  /** The field with the remote address. */
  readonly side: "saddr" | "daddr";
  readonly limit: Limit;
}

export function waysOf({ ingress, egress }: Bandwidth): Way[] {
  return [
    ...(egress === undefined
      ? []
      : [{ role: EGRESS_IFB_START, hook: "ingress", side: "daddr", limit: egress } as const]),
    ...(ingress === undefined
      ? []
      : [{ role: INGRESS_IFB_START, hook: "egress", side: "saddr", limit: ingress } as const]),
  ];
}

/** Returns the filters of one direction at the host's device, in the order in which they are added. */
export function filtersOf(
  { hook, side }: Way,
  { isShaped, prefixes }: Subnets,
  device: Pick<Link, "index">,
  ifb: Pick<Link, "index">,
): SubnetFilter[] {
  const place = { index: device.index, hook };
  const target = isShaped ? ifb.index : undefined;
  const filters = prefixes.map((prefix): SubnetFilter => ({ ...place, match: { side, prefix }, target }));
  return isShaped ? filters : [...filters, { ...place, match: undefined, target: ifb.index }];
}
