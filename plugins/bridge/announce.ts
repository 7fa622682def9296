/**
 * Announces the pod's hardware address for its IP addresses, which another pod may have had a moment ago. Without it,
 * the host sends to the old hardware address until its neighbour probes fail: 9 seconds for a stale entry, up to 40 for
 * a reachable one.
 */

import type { AttachContext } from "../../pkg/attachment/interface-plugin.ts";
import { announceAdvertisements } from "../../pkg/attachment/sysctls.ts";
import type { VethPair } from "../../pkg/attachment/veth-pair.ts";
import type { Address } from "../../pkg/ip/address.ts";
import { changeLink, type LinkState } from "../../pkg/kernel/link.ts";
import { changeNeighbour, getNeighbour, isStatic, parseNeighbourState } from "../../pkg/kernel/neighbour.ts";
import type { BlockingNetlink } from "../../pkg/netlink/blocking.ts";

export interface Announcement {
  readonly veth: VethPair;
  readonly podLink: LinkState;
  /** The host's device on the pod's link. */
  readonly hostDevice: LinkState;
  readonly addresses: readonly Address[];
  /** True if the bridge sends the port's frames back to it. */
  readonly isHairpin: boolean;
}

/**
 * Runs once the pod's port forwards, since an earlier announcement is lost. Setting the hardware address, even to the
 * same value, makes the kernel send a gratuitous ARP (arp_notify) and an unsolicited neighbour advertisement
 * (ndisc_notify) for each address of the interface.
 */
export function announce({ request, namespace, sockets }: AttachContext, announcement: Announcement): void {
  const { veth, podLink, hostDevice, addresses, isHairpin } = announcement;
  const hasIpv6 = addresses.some(({ family }) => family === 6);
  if (hasIpv6) announceAdvertisements(request.system, namespace, podLink.name);
  // If its own advertisement comes back, the pod's kernel takes it for another host with its address, and logs a
  // warning.
  const isEchoed = isHairpin && hasIpv6;
  const setHairpin = (hairpin: boolean) => changeLink(veth.hostName, { port: { hairpin } });
  if (isEchoed) sockets.host.run(setHairpin(false));
  sockets.pod.run(changeLink(podLink.index, { mac: veth.podMac }));
  if (isEchoed) sockets.host.run(setHairpin(true));
  correctNeighbours(sockets.host, hostDevice, veth.podMac, addresses);
}

/** Corrects the host's entries. The host receives the announcement, too, but perhaps not before ADD returns. */
function correctNeighbours(
  host: BlockingNetlink,
  { index }: LinkState,
  mac: string,
  addresses: readonly Address[],
): void {
  const replies = host.exchange(addresses.map((address) => getNeighbour(index, address)));
  const outdated = addresses.filter((_, at) => {
    const message = replies[at]?.messages[0];
    if (message === undefined) return false;
    const entry = parseNeighbourState(message);
    return entry.mac !== mac && !isStatic(entry);
  });
  // Best effort, since the host probes again by itself: ADD does not fail if another program has changed an entry
  // meanwhile.
  host.exchange(outdated.map((address) => changeNeighbour({ index, address, mac })));
}
