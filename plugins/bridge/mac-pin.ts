/**
 * The hardware address of a bridge that another program made. Unless that program stated one, the kernel gives the bridge the
 * lowest address of its ports, and another one as ports come and go: pods would lose their gateway until they ask for it
 * anew. An address that was set stays (addr_assign_type 3, NET_ADDR_SET).
 */
import { randomMac } from "../../pkg/attachment/links.ts";
import { changeLink, getLink, type Link, parseLink } from "../../pkg/kernel/link.ts";
import type { BlockingNetlink } from "../../pkg/netlink/blocking.ts";
import type { System } from "../../pkg/sys/system.ts";

/** Of the namespace that the bridge is in. */
const OWN_NAMESPACE = "/proc/self/ns/net";
/** A bridge that has lost its last port has no address; the kernel refuses to set this one. */
const NO_ADDRESS = "00:00:00:00:00:00";

/**
 * Sets the address that the bridge has, as long as it has not changed by the pod's own port: `ip link set br0 address (its
 * own)`. The kernel does not tell whether an address was set, so ADDs that both find a bridge without its gateway's address
 * read and set in turn: the second one finds what the first has set. The kernel cannot take it back.
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
