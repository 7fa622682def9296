/** Waits for duplicate address detection (RFC 4862, section 5.4). */
import { CniError, ErrorCode } from "../cni/errors.ts";
import { isSameAddress } from "../ip/address.ts";
import { formatPrefix } from "../ip/prefix.ts";
import type { LinkAddress } from "../kernel/address.ts";
import { readAddresses } from "../kernel/read.ts";
import { parseRoutes, routeDump } from "../kernel/route.ts";
import type { BlockingNetlink } from "../netlink/blocking.ts";
import { RT_TABLE_LOCAL } from "../netlink/route.ts";
import type { System } from "../sys/system.ts";

/** The kernel sends one probe within the first second and waits another second for an answer. */
const LONGEST_WAIT_MS = 5000;
const INTERVAL_MS = 50;

/**
 * Waits until all addresses of a link are usable. Throws `CniError` 11 if another host on the link has one of them, or
 * if the kernel still probes after five seconds.
 */
export function waitForDetection(pod: BlockingNetlink, system: System, link: { index: number; name: string }): void {
  for (let waitedMs = 0; ; waitedMs += INTERVAL_MS) {
    const addresses = readAddresses(pod, link.index);
    const taken = addresses.find(({ isDuplicate }) => isDuplicate);
    if (taken !== undefined) {
      throw new CniError(
        ErrorCode.tryAgainLater,
        `another host on the link of ${link.name} in ${pod.where} has the address ${formatPrefix(taken.prefix)} ` +
          "(duplicate address detection): find that host, or try again to get another address",
      );
    }
    const pending = addresses.find(({ isTentative }) => isTentative);
    if (pending === undefined) return;
    if (waitedMs >= LONGEST_WAIT_MS) {
      throw new CniError(
        ErrorCode.tryAgainLater,
        `the address ${formatPrefix(pending.prefix)} on ${link.name} in ${pod.where} is still tentative after ` +
          `${LONGEST_WAIT_MS / 1000} seconds of duplicate address detection: try again`,
      );
    }
    system.sleep(INTERVAL_MS);
  }
}

/** How long the kernel may take: it completes an address in a work queue, within milliseconds on a busy machine. */
const COMPLETION_WAITS_MS = [0, 1, 1, 2, 5, 10, 20, 50, 100, 200, 500];

/**
 * Waits until the kernel answers for the IPv6 addresses of a link without detection, and can use its link-local address.
 * Until then neighbours get no answer, and the kernel sends no solicitation for forwarded packets. Both try again a
 * second later, so the first connection to a new pod would take that second. The local route of an address is the last
 * step of its completion. Returns in any case; the connection then waits.
 */
export function waitForCompletion(netlink: BlockingNetlink, system: System, index: number): void {
  for (const waitMs of COMPLETION_WAITS_MS) {
    if (waitMs > 0) system.sleep(waitMs);
    const addresses = readAddresses(netlink, index).filter(({ prefix }) => prefix.address.family === 6);
    const local = netlink.dump(routeDump(6, RT_TABLE_LOCAL)).flatMap(parseRoutes);
    const isComplete = ({ prefix: { address } }: LinkAddress) =>
      local.some((route) => route.outputIndex === index && isSameAddress(route.destination.address, address));
    if (addresses.every(isComplete)) return;
  }
}
