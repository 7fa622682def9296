/**
 * Fixes the hardware address of a bridge that another program created. Unless that program set one, the kernel gives
 * the bridge the lowest address of its ports, and changes it as ports are added and removed. Pods would then lose their
 * gateway until they resolve its address again. An address that was set stays (addr_assign_type 3, NET_ADDR_SET).
 */
import { randomMac } from "../../pkg/attachment/links.ts";
import { changeLink, getLink, type Link, parseLink } from "../../pkg/kernel/link.ts";
import type { BlockingNetlink } from "../../pkg/netlink/blocking.ts";
import type { System } from "../../pkg/sys/system.ts";

/** The namespace of the bridge. */
const OWN_NAMESPACE = "/proc/self/ns/net";
/** The address of a bridge without ports. The kernel refuses to set it. */
const NO_ADDRESS = "00:00:00:00:00:00";

/**
 * Sets the bridge's current address, as long as the pod's own port has not changed it: `ip link set br0 address (its
 * own)`. The kernel does not tell whether an address was set. So if two ADDs find a bridge without its gateway's
 * address, they read and set one after the other, and the second finds the address that the first has set. The change
 * cannot be undone.
 */
export function pinMac(host: BlockingNetlink, system: System, { index }: Link): void {
  const lock = system.lockFile(OWN_NAMESPACE);
  try {
    const [message] = host.run(getLink(index));
    const held = message === undefined ? NO_ADDRESS : parseLink(message).mac;
    host.run(changeLink(index, { mac: held === NO_ADDRESS ? randomMac(system) : held }));
  } finally {
    lock?.release();
  }
}
