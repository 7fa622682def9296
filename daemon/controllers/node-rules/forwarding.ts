/** IP forwarding, switched on if it is off. Without it no packet gets from a pod to another node. */

import { FORWARDING, SETTING_ACCEPT_RA, SETTING_FORWARDING } from "../../../pkg/footprint.ts";
import type { Family } from "../../../pkg/ip/address.ts";
import type { KernelSnapshot } from "../../../pkg/kernel/snapshot.ts";
import { readSysctl } from "../../../pkg/kernel/sysctl.ts";
import { RTPROT_RA } from "../../../pkg/netlink/route.ts";
import type { Files } from "../../../pkg/sys/system.ts";
import type { Setting } from "../../core/drivers/settings.ts";

/**
 * Returns the settings that forwarding requires for `families`, in the order in which to set them. IPv4 also requires
 * the setting of each device on which packets arrive: the underlay and our own `devices`, as far as they exist.
 *
 * A host that forwards IPv6 ignores router advertisements unless accept_ra is 2. If the underlay's interface or one of
 * `advertised` may depend on them, its `accept_ra` is set first. Otherwise it would lose its default route when the
 * last advertisement expires.
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

/** Returns the names of links with routes from a router's advertisement. */
export function advertisedLinks({ links, routes }: Pick<KernelSnapshot, "links" | "routes">): string[] {
  const indexes = new Set(
    routes.filter(({ protocol }) => protocol === RTPROT_RA).map(({ outputIndex }) => outputIndex),
  );
  return links.filter(({ index }) => indexes.has(index)).map(({ name }) => name);
}
