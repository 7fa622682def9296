/** Duplicate address detection (RFC 4862 section 5.4), waited for. */
import { CniError, ErrorCode } from "../cni/errors.ts";
import { formatPrefix } from "../ip/prefix.ts";
import { readAddresses } from "../kernel/read.ts";
import type { BlockingNetlink } from "../netlink/blocking.ts";
import type { System } from "../sys/system.ts";

/** The kernel asks once, within the first second, and waits another for the answer. */
const LONGEST_WAIT_MS = 5000;
const INTERVAL_MS = 50;

/**
 * Waits until the kernel uses all addresses of a link. Throws `CniError` 11 for one that somebody else on the link has, or
 * where the kernel still asks after five seconds.
 */
export function waitForDetection(pod: BlockingNetlink, system: System, link: { index: number; name: string }): void {
  for (let waitedMs = 0; ; waitedMs += INTERVAL_MS) {
    const addresses = readAddresses(pod, link.index);
    const taken = addresses.find(({ isDuplicate }) => isDuplicate);
    if (taken !== undefined) {
      throw new CniError(
        ErrorCode.tryAgainLater,
        `somebody else on the link of ${link.name} in ${pod.where} has the address ${formatPrefix(taken.prefix)} already ` +
          "(duplicate address detection): find out who, or try again for another address",
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
