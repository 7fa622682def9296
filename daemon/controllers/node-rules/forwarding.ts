/** IP forwarding, switched on where it is off: without it no packet gets from a pod to another node. */

import { FORWARDING, SETTING_ACCEPT_RA, SETTING_FORWARDING } from "../../../pkg/footprint.ts";
import type { Family } from "../../../pkg/ip/address.ts";
import type { KernelSnapshot } from "../../../pkg/kernel/snapshot.ts";
import { readSysctl } from "../../../pkg/kernel/sysctl.ts";
import { RTPROT_RA } from "../../../pkg/netlink/route.ts";
import type { Files } from "../../../pkg/sys/system.ts";
import type { Setting } from "../../core/drivers/settings.ts";

/**
 * What forwarding takes for `families`, in the order in which it is to be set. IPv4 asks each device that a packet comes
 * in by, too: the underlay's and our own `devices`, as far as they are there.
 *
 * A host that forwards IPv6 ignores router advertisements, unless accept_ra is 2: where the underlay's interface, or one
 * of `advertised`, may live by them, its `accept_ra` is set first, or it would lose its default route when the next one
 * runs out.
 */
export function forwardingSettings(
  files: Files,
  families: ReadonlySet<Family>,
  underlay: string,
  devices: readonly string[],
  advertised: readonly string[],
): Setting[] {
  const wanted: Setting[] = [];
  if (families.has(4)) {
    const closed = [underlay, ...devices]
      .map((device) => ["net", "ipv4", "conf", device, SETTING_FORWARDING])
      .filter((name) => readSysctl(files, name) === "0");
    wanted.push(...[FORWARDING[4], ...closed].map((name) => ({ name, value: "1" })));
  }
  if (families.has(6)) {
    const acceptances = [...new Set([underlay, ...advertised])].map((name) => [
      "net",
      "ipv6",
      "conf",
      name,
      SETTING_ACCEPT_RA,
    ]);
    for (const name of acceptances) if (readSysctl(files, name) === "1") wanted.push({ name, value: "2" });
    wanted.push({ name: FORWARDING[6], value: "1" });
  }
  return wanted;
}

/** Names of the links that have routes from a router's advertisement. */
export function advertisedLinks({ links, routes }: Pick<KernelSnapshot, "links" | "routes">): string[] {
  const indexes = new Set(
    routes.filter(({ protocol }) => protocol === RTPROT_RA).map(({ outputIndex }) => outputIndex),
  );
  return links.filter(({ index }) => indexes.has(index)).map(({ name }) => name);
}
