/**
 * Limits for some far ends alone. A bucket at the device itself would take all packets, so each direction has an ifb device
 * with the bucket, and filters that lead there:
 *
 *     shapedSubnets      packets of these subnets to the ifb device; all others go on
 *     unshapedSubnets    packets of these subnets go on; all others to the ifb device
 *
 * What the kernel has sent through an ifb device goes on at the hook behind which it was taken.
 */
import { EGRESS_IFB_START, INGRESS_IFB_START } from "../../pkg/footprint.ts";
import type { Link } from "../../pkg/kernel/link.ts";
import type { Hook, Limit, SubnetFilter } from "../../pkg/kernel/traffic-control.ts";
import type { Bandwidth, Subnets } from "./config.ts";
import type { IfbRole } from "./devices.ts";

/** A direction that is limited. */
export interface Way {
  readonly role: IfbRole;
  /** Of the host's end of the veth: what the pod sends arrives there, what it receives leaves there. */
  readonly hook: Hook;
  /** Where the far end's address stands. */
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

/** The filters of one direction at the host's device, in the order in which they are added. */
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
