/**
 * The cable between bridge and pod: a veth pair whose far end is made inside the pod's namespace.
 */
import { assertNameIsFree, randomLinkName, randomMac } from "../../pkg/attachment/links.ts";
import { CniError, ErrorCode } from "../../pkg/cni/errors.ts";
import { changeLink, createVeth, deleteLink, getLink, type Link, parseLink } from "../../pkg/kernel/link.ts";
import type { BlockingNetlink } from "../../pkg/netlink/blocking.ts";
import { isExists } from "../../pkg/netlink/errors.ts";
import type { NetworkNamespace, System } from "../../pkg/sys/system.ts";
import type { BridgeConfig } from "./config.ts";

/** Random names collide once in four thousand million; ten tries are the reference's number too. */
const NAME_ATTEMPTS = 10;

export interface Cable {
  /** The end on the host: a port of the bridge, up. */
  readonly hostName: string;
  readonly hostMac: string;
  /** The end in the pod, still down. */
  readonly podMac: string;
}

/** Both ends of the road to the kernel: the host's namespace and the pod's. */
export interface Sides {
  readonly host: BlockingNetlink;
  readonly pod: BlockingNetlink;
}

/**
 * Makes the pair with both hardware addresses stated, so that they are known without asking and nobody's MAC policy
 * changes them; then the owner's mark and the port's settings, which the kernel takes only on a device that exists.
 */
export function plugCable(
  sides: Sides,
  system: System,
  plan: {
    readonly bridge: Link;
    readonly config: BridgeConfig;
    readonly namespace: NetworkNamespace;
    readonly ifName: string;
    readonly owner: string;
  },
): Cable {
  const { bridge, config, namespace, ifName, owner } = plan;
  const hostMac = randomMac(system);
  const podMac = config.mac ?? randomMac(system);
  for (let attempt = 1; ; attempt++) {
    const hostName = randomLinkName(system, "veth");
    const [created] = sides.host.exchange([
      createVeth({
        name: hostName,
        mac: hostMac,
        mtu: config.mtu,
        masterIndex: bridge.index,
        peer: { name: ifName, mac: podMac, mtu: config.mtu, namespaceFd: namespace.fd },
      }),
    ]);
    if (created?.error !== undefined) {
      if (!isExists(created.error) || attempt === NAME_ATTEMPTS) throw created.error;
      assertNameIsFree(sides.pod, ifName);
      continue;
    }
    // In a message of its own: behind a creation that was refused, it would mark a stranger's device of that name.
    const [marked] = sides.host.exchange([
      changeLink(hostName, { alias: owner, ...(config.hairpinMode ? { hairpin: true } : {}) }),
    ]);
    if (marked?.error !== undefined) {
      sides.host.exchange([deleteLink(hostName)]);
      throw marked.error;
    }
    return { hostName, hostMac, podMac };
  }
}

/** How long a port may take to come up once the pod's end has: the kernel defers it to a work queue. */
const CARRIER_WAITS_MS = [0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000];

/**
 * Waits until frames pass: a port whose carrier has just come is "disabled" for the bridge until the kernel notices. A
 * bridge that was removed meanwhile (another ADD made it, failed, and took it back) leaves a link that is up but leads
 * nowhere: that is refused.
 */
export function waitForPort(host: BlockingNetlink, system: System, hostName: string, bridge: Link): void {
  for (const waitMs of CARRIER_WAITS_MS) {
    if (waitMs > 0) system.sleep(waitMs);
    const [reply] = host.exchange([getLink(hostName)]);
    if (reply?.error !== undefined) throw reply.error;
    const message = reply?.messages[0];
    if (message === undefined) continue;
    const { isOperational, masterIndex } = parseLink(message);
    if (masterIndex !== bridge.index) {
      throw new CniError(
        ErrorCode.tryAgainLater,
        `the bridge ${bridge.name} vanished while ${hostName} was being attached to it: try again`,
      );
    }
    if (isOperational) return;
  }
  throw new CniError(
    ErrorCode.tryAgainLater,
    `the bridge port ${hostName} did not come up within ${CARRIER_WAITS_MS.reduce((sum, ms) => sum + ms, 0)} ms: try again`,
  );
}
