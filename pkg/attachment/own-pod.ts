/**
 * DEL: whether CNI_NETNS still is the attachment's pod. Runtimes hand over /proc/PID/ns/net, and after a crash or a restart of
 * the machine the number may be another pod's process. Such a namespace is left alone, as if the pod's were gone. (That of the
 * host is sorted out before: see cni/loop.ts.)
 */
import { isCniError } from "../cni/errors.ts";
import type { CniRequest } from "../cni/plugin.ts";
import type { Result } from "../cni/result.ts";
import { isSamePrefix } from "../ip/prefix.ts";
import { type Link, linkDump, parseLink } from "../kernel/link.ts";
import { isOfContainer } from "../kernel/owner.ts";
import { findLink, readAddresses } from "../kernel/read.ts";
import { type BlockingNetlink, openRoute } from "../netlink/blocking.ts";
import { ownerOf } from "./owner.ts";

/** Any other path is a name that a runtime has given to the pod's namespace alone: it leads there, or nowhere. */
const BY_PROCESS = /(^|\/)proc\/\d+\//;

/** Runs `work` with a socket of the pod's namespace; returns false where that is gone, or is another pod's by now. */
export function inOwnPod(request: CniRequest, work: (pod: BlockingNetlink) => void): boolean {
  const { system, namespace } = request;
  if (namespace === undefined) return false;
  const pod = openRoute(system, namespace);
  try {
    const isOwn = !BY_PROCESS.test(request.netnsPath) || isOwnPod(request, pod);
    if (isOwn) work(pod);
    return isOwn;
  } finally {
    pod.close();
  }
}

/** True unless something tells that the namespace is another pod's: marks on the host, else the last result. */
function isOwnPod(request: CniRequest, pod: BlockingNetlink): boolean {
  const link = findLink(pod, request.ifName);
  const host = openRoute(request.system);
  try {
    const byLink = link === undefined ? undefined : isMarkedAsOwn(request, host, link);
    if (byLink !== undefined) return byLink;
    const isTold = link === undefined ? undefined : isAsTold(request, pod, link);
    if (isTold === true) return true;
    // The interface has no mark, or is not there: those that the pod has from other plugins may have one.
    const others = pod
      .dump(linkDump())
      .map(parseLink)
      .filter(({ index }) => index !== link?.index);
    const marks = others.map((other) => isMarkedAsOwn(request, host, other));
    if (marks.includes(true)) return true;
    if (marks.includes(false)) return false;
    return isTold ?? true;
  } finally {
    host.close();
  }
}

/** By the alias of the host's end of a cable. `undefined` where there is none, or it bears no mark. */
function isMarkedAsOwn(request: CniRequest, host: BlockingNetlink, link: Link): boolean | undefined {
  if (link.kind !== "veth" || link.peerIndex === 0) return undefined;
  const end = findLink(host, link.peerIndex);
  // The number may be a link's of another namespace.
  if (end?.kind !== "veth" || end.peerIndex !== link.index) return undefined;
  return isOfContainer(end.alias, request, ownerOf(request));
}

/** Links of these kinds have their parent's hardware address. */
const SHARING_KINDS = ["ipvlan", "vlan"];

/**
 * True where an interface without a mark has the hardware address or one of the addresses of the last result, false where it
 * has neither. One of the two may have been changed since, by a plugin behind in the chain or by the pod: where the result has
 * no addresses, another hardware address proves nothing (`undefined`).
 */
function isAsTold(request: CniRequest, pod: BlockingNetlink, link: Link): boolean | undefined {
  const told = lastResult(request);
  const at = told?.interfaces.findIndex(({ name, sandbox }) => name === request.ifName && sandbox !== undefined) ?? -1;
  const mac = told?.interfaces[at]?.mac;
  // Every lo has the same hardware address and addresses.
  if (told === undefined || mac === undefined || link.name === "lo") return undefined;
  if (!SHARING_KINDS.includes(link.kind) && mac.toLowerCase() === link.mac) return true;
  const ips = told.ips.filter((ip) => ip.interface === undefined || ip.interface === at);
  if (ips.length === 0) return undefined;
  const held = readAddresses(pod, link.index);
  return ips.some(({ address }) => held.some(({ prefix }) => isSamePrefix(prefix, address)));
}

/** DEL does not fail by a result that cannot be read. */
function lastResult(request: CniRequest): Result | undefined {
  try {
    return request.prevResult;
  } catch (error) {
    if (isCniError(error)) return undefined;
    throw error;
  }
}
