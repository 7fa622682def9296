/** Veth pairs, which connect a pod with the host. */

import { CniError, ErrorCode } from "../cni/errors.ts";
import { VETH_NAME_START } from "../footprint.ts";
import {
  changeLink,
  createVeth,
  getLink,
  type LinkState,
  type PortSettings,
  parseLinkState,
  type VethSettings,
} from "../kernel/link.ts";
import type { BlockingNetlink } from "../netlink/blocking.ts";
import { isExists, type NetlinkError } from "../netlink/errors.ts";
import type { System } from "../sys/system.ts";
import type { AttachContext } from "./interface-plugin.ts";
import { assertNameIsFree, randomLinkName, randomMac, removeLink } from "./links.ts";
import { ownerOf } from "./owner.ts";
import { refuseAdvertisements } from "./sysctls.ts";

/** A random name collides once in about four thousand million. The reference plugin also tries ten times. */
const NAME_ATTEMPTS = 10;

export interface VethPair {
  /** The end on the host, which stays down until `bringUpHost`. */
  readonly hostName: string;
  readonly hostMac: string;
  /** The end in the pod, which is down. */
  readonly podMac: string;
}

export interface VethPairPlan {
  /** The MTU of both ends. Undefined means the kernel's default. */
  readonly mtu: number | undefined;
  /** The hardware address of the pod's end. Undefined means a random one. */
  readonly mac: string | undefined;
  /** The bridge to which the host's end is attached, and the settings of the port. */
  readonly masterIndex?: number;
  readonly port?: PortSettings | undefined;
}

/**
 * Makes the pair, with its far end as CNI_IFNAME in the pod. Both ends are down. Both hardware addresses are set explicitly: they are then
 * known without a query, and no MAC policy of the host (such as udev's) changes them. Then sets the owner's mark and
 * the port's settings, which the kernel accepts only on an existing device.
 */
export function createVethPair({ request, namespace, sockets, undo }: AttachContext, plan: VethPairPlan): VethPair {
  const { system, ifName } = request;
  const { mtu, masterIndex, port } = plan;
  const hostMac = randomMac(system);
  const podMac = plan.mac ?? randomMac(system);
  const peer = { name: ifName, mac: podMac, mtu, namespaceFd: namespace.fd };
  const hostName = makeVeth(sockets.host, system, { mac: hostMac, mtu, masterIndex, isDown: true, peer }, () => {
    assertNameIsFree(sockets.pod, ifName);
  });
  undo.push(() => removeLink(sockets.host, hostName));
  // Sent in a separate message: after a refused creation in the same message, it would mark another program's device of
  // that name.
  sockets.host.run(changeLink(hostName, { alias: ownerOf(request), ...(port === undefined ? {} : { port }) }));
  refuseAdvertisements(system, hostName);
  return { hostName, hostMac, podMac };
}

/**
 * Makes a pair under a random free name and returns the name. If one of the two names is taken, calls `beforeRetry`
 * with the kernel's error. `beforeRetry` throws if the peer's name is the one taken.
 */
export function makeVeth(
  host: BlockingNetlink,
  system: System,
  settings: Omit<VethSettings, "name">,
  beforeRetry: (error: NetlinkError) => void,
): string {
  for (let attempt = 1; ; attempt++) {
    const name = randomLinkName(system, VETH_NAME_START);
    const [created] = host.exchange([createVeth({ ...settings, name })]);
    if (created?.error === undefined) return name;
    if (!isExists(created.error) || attempt === NAME_ATTEMPTS) throw created.error;
    beforeRetry(created.error);
  }
}

/** How long the host's end may take to come up after the pod's end: the kernel does this in a work queue. */
const CARRIER_WAITS_MS = [0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000];

/**
 * Waits until the kernel forwards frames. An end that has just got its carrier drops them until the kernel processes
 * the change (a bridge's port is "disabled" until then). Each read includes `others` in the same exchange and is first
 * passed to `look`, which may throw. Returns the end and the others from the last read. Throws `CniError` 11 after two
 * seconds.
 */
export function waitForCarrier(
  host: BlockingNetlink,
  system: System,
  hostName: string,
  others: readonly number[] = [],
  look: (link: LinkState) => void = () => undefined,
): readonly [end: LinkState, ...others: LinkState[]] {
  for (const waitMs of CARRIER_WAITS_MS) {
    if (waitMs > 0) system.sleep(waitMs);
    const [link, ...rest] = host.run(getLink(hostName), ...others.map(getLink)).map(parseLinkState);
    if (link === undefined) continue;
    look(link);
    if (link.isOperational) return [link, ...rest];
  }
  throw new CniError(
    ErrorCode.tryAgainLater,
    `the link ${hostName} did not come up within ` +
      `${CARRIER_WAITS_MS.reduce((sum, ms) => sum + ms, 0)} ms: try again`,
  );
}
