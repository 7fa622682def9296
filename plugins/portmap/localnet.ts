/**
 * Lets connections from the node's loopback addresses leave by the device that leads to the pod (route_localnet). The
 * table of ports drops packets that could then arrive that way.
 */
import { SETTING_ROUTE_LOCALNET } from "../../pkg/footprint.ts";
import type { Address } from "../../pkg/ip/address.ts";
import { findLink } from "../../pkg/kernel/read.ts";
import { getRoute, parseRoute } from "../../pkg/kernel/route.ts";
import { ensureSysctl, readSysctl, type SysctlName } from "../../pkg/kernel/sysctl.ts";
import { openRoute } from "../../pkg/netlink/blocking.ts";
import { isNetlinkError } from "../../pkg/netlink/errors.ts";
import type { System } from "../../pkg/sys/system.ts";

/**
 * The kernel applies this setting to every device. If /proc/sys is read-only, only this one can have been set before.
 */
const ALL_DEVICES: SysctlName = ["net", "ipv4", "conf", "all", SETTING_ROUTE_LOCALNET];

/** Allows it. A pod without a route is not on any link, so there is nothing to allow. */
export function allowLoopback(system: System, pod: Address): void {
  const sysctl = findSysctl(system, pod);
  if (sysctl !== undefined) ensureSysctl(system, sysctl, "1", ALL_DEVICES);
}

/** Returns the setting's dotted name if it is not as `allowLoopback` leaves it. */
export function refusedLoopback(system: System, pod: Address): string | undefined {
  const sysctl = findSysctl(system, pod);
  const isAllowed = sysctl === undefined || [sysctl, ALL_DEVICES].some((name) => readSysctl(system, name) === "1");
  return isAllowed ? undefined : sysctl.join(".");
}

function findSysctl(system: System, pod: Address): SysctlName | undefined {
  const host = openRoute(system);
  try {
    const [reply] = host.exchange([getRoute(pod)]);
    if (isNetlinkError(reply?.error, "ENETUNREACH", "EHOSTUNREACH")) return undefined;
    if (reply?.error !== undefined) throw reply.error;
    const index = reply?.messages.map(parseRoute)[0]?.outputIndex;
    const link = index === undefined ? undefined : findLink(host, index);
    return link === undefined ? undefined : ["net", "ipv4", "conf", link.name, SETTING_ROUTE_LOCALNET];
  } finally {
    host.close();
  }
}
