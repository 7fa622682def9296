/** Veth pairs: the cable between a pod and the host. */

import { CniError, ErrorCode } from "../cni/errors.ts";
import { VETH_NAME_START } from "../footprint.ts";
import {
  changeLink,
  createVeth,
  getLink,
  type Link,
  type PortSettings,
  parseLink,
  type VethSettings,
} from "../kernel/link.ts";
import type { BlockingNetlink } from "../netlink/blocking.ts";
import { isExists, type NetlinkError } from "../netlink/errors.ts";
import type { System } from "../sys/system.ts";
import type { AttachContext } from "./interface-plugin.ts";
import { assertNameIsFree, randomLinkName, randomMac, removeLink } from "./links.ts";
import { ownerOf } from "./owner.ts";
import { refuseAdvertisements } from "./sysctls.ts";

/** Random names collide once in four thousand million; ten tries are the reference's number too. */
const NAME_ATTEMPTS = 10;

export interface VethPair {
  /** The end on the host, up. */
  readonly hostName: string;
  readonly hostMac: string;
  /** The end in the pod, still down. */
  readonly podMac: string;
}

export interface VethPairPlan {
  /** Of both ends; undefined is the kernel's default. */
  readonly mtu: number | undefined;
  /** The pod's end's; a random one when undefined. */
  readonly mac: string | undefined;
  /** The bridge that the host's end becomes a port of, and the port's settings. */
  readonly masterIndex?: number;
  readonly port?: PortSettings | undefined;
}

/**
 * Makes the pair, its far end as CNI_IFNAME inside the pod, with both hardware addresses stated, so that they are known
 * without asking and nobody's MAC policy changes them; then the owner's mark and the port's settings, which the kernel
 * takes only on a device that exists.
 */
export function createVethPair({ request, namespace, sockets, undo }: AttachContext, plan: VethPairPlan): VethPair {
  const { system, ifName } = request;
  const { mtu, masterIndex, port } = plan;
  const hostMac = randomMac(system);
  const podMac = plan.mac ?? randomMac(system);
  const peer = { name: ifName, mac: podMac, mtu, namespaceFd: namespace.fd };
  const hostName = makeVeth(sockets.host, system, { mac: hostMac, mtu, masterIndex, peer }, () => {
    assertNameIsFree(sockets.pod, ifName);
  });
  undo.push(() => removeLink(sockets.host, hostName));
  // In a message of its own: behind a creation that was refused, it would mark a stranger's device of that name.
  sockets.host.run(changeLink(hostName, { alias: ownerOf(request), ...(port === undefined ? {} : { port }) }));
  refuseAdvertisements(system, hostName);
  return { hostName, hostMac, podMac };
}

/**
 * Makes a pair under a random name that is free, which it returns. Where one of the two names is taken, `beforeRetry` is
 * asked first, with what the kernel said: it throws when the peer's is.
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

/** How long the host's end may take to come up once the pod's has: the kernel defers it to a work queue. */
const CARRIER_WAITS_MS = [0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000];

/**
 * Waits until the kernel passes frames on: an end whose carrier has just come drops them (a bridge's port is "disabled")
 * until the kernel notices. Each look reads `others` in the same exchange, and goes to `look` first, which may throw. Returns
 * the end and the others as the last look saw them. Throws `CniError` 11 after two seconds.
 */
export function waitForCarrier(
  host: BlockingNetlink,
  system: System,
  hostName: string,
  others: readonly number[] = [],
  look: (link: Link) => void = () => undefined,
): readonly [end: Link, ...others: Link[]] {
  for (const waitMs of CARRIER_WAITS_MS) {
    if (waitMs > 0) system.sleep(waitMs);
    const [link, ...rest] = host.run(getLink(hostName), ...others.map(getLink)).map(parseLink);
    if (link === undefined) continue;
    look(link);
    if (link.isOperational) return [link, ...rest];
  }
  throw new CniError(
    ErrorCode.tryAgainLater,
    `the link ${hostName} did not come up within ${CARRIER_WAITS_MS.reduce((sum, ms) => sum + ms, 0)} ms: try again`,
  );
}
