/** DEL: the host's end of an attachment's veth pair. */
import type { CniRequest } from "../cni/plugin.ts";
import type { ResultInterface } from "../cni/result.ts";
import { changeLink, type Link } from "../kernel/link.ts";
import { findLink } from "../kernel/read.ts";
import { type BlockingNetlink, openRoute } from "../netlink/blocking.ts";
import { isNetlinkError } from "../netlink/errors.ts";
import { removeLink } from "./links.ts";
import { inOwnPod, lastResult } from "./own-pod.ts";
import { ownerOf } from "./owner.ts";

/** The two ends of a veth pair in a result. */
export interface ResultPair {
  readonly host: ResultInterface;
  readonly pod: ResultInterface;
}

/** Returns the attachment's pair in the last result: in the results of bridge and ptp, the pod's end follows the host's end. */
export function lastPair(request: CniRequest): ResultPair | undefined {
  const { interfaces = [] } = lastResult(request) ?? {};
  const at = interfaces.findIndex(({ name, sandbox }) => name === request.ifName && Boolean(sandbox));
  const [host, pod] = [interfaces[at - 1], interfaces[at]];
  return host === undefined || pod === undefined ? undefined : { host, pod };
}

/**
 * Sets the host's end down, so that the pod can send nothing more, calls `work`, and removes the pair. Returns false if
 * there is no such link with the attachment's mark; `work` has not been called then, or the link vanished meanwhile.
 */
export function removeOwnPort(request: CniRequest, work: () => void): boolean {
  const port = lastPair(request)?.host.name || peerOfPod(request);
  if (!port) return false;
  const host = openRoute(request.system);
  try {
    const link = findAny(host, port);
    if (link?.kind !== "veth" || link.alias !== ownerOf(request)) return false;
    const [reply] = host.exchange([changeLink(link.index, { up: false })]);
    if (reply?.error !== undefined) return false;
    work();
    return removeLink(host, link.index);
  } finally {
    host.close();
  }
}

/** Runtimes for versions before 0.4.0 do not keep results. Returns the index of the host's end. */
function peerOfPod(request: CniRequest): number | undefined {
  let index: number | undefined;
  inOwnPod(request, (pod) => {
    index = findAny(pod, request.ifName)?.peerIndex;
  });
  return index;
}

/** The kernel may refuse a name from a result that is not ADD's. */
function findAny(netlink: BlockingNetlink, link: string | number): Link | undefined {
  try {
    return findLink(netlink, link);
  } catch (error) {
    if (isNetlinkError(error)) return undefined;
    throw error;
  }
}
