/** Waits for duplicate address detection (RFC 4862, section 5.4). */
import { CniError, ErrorCode } from "../cni/errors.ts";
import { formatPrefix } from "../ip/prefix.ts";
import { readAddresses } from "../kernel/read.ts";
import type { BlockingNetlink } from "../netlink/blocking.ts";
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
