/**
 * DEL: decides whether CNI_NETNS is still the attachment's pod. Runtimes pass /proc/PID/ns/net; after a crash or a
 * reboot, another pod's process may have this PID. DEL then leaves the namespace alone, as if the pod's namespace no
 * longer existed. (cni/loop.ts has already excluded the host's namespace.)
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

/**
 * Any other path is a name that a runtime gave to this pod's namespace only. It leads to that namespace or does not
 * exist.
 */
const BY_PROCESS = /(^|\/)proc\/\d+\//;

/**
 * Runs `work` with a socket in the pod's namespace. Returns false if the namespace no longer exists or is now another
 * pod's.
 */
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

/** True unless marks on the host, or else the last result, show that the namespace is another pod's. */
function isOwnPod(request: CniRequest, pod: BlockingNetlink): boolean {
  const link = findLink(pod, request.ifName);
  const host = openRoute(request.system);
  try {
    const byLink = link === undefined ? undefined : isMarkedAsOwn(request, host, link);
    if (byLink !== undefined) return byLink;
    const matchesResult = link === undefined ? undefined : isAsInResult(request, pod, link);
    if (matchesResult === true) return true;
    // The interface has no mark or does not exist. The pod's interfaces from other plugins may have a mark.
    const others = pod
      .dump(linkDump())
      .map(parseLink)
      .filter(({ index }) => index !== link?.index);
    const marks = others.map((other) => isMarkedAsOwn(request, host, other));
    if (marks.includes(true)) return true;
    if (marks.includes(false)) return false;
    return matchesResult ?? true;
  } finally {
    host.close();
  }
}

/**
 * Compares the alias of the host's end of a veth pair. Returns undefined if there is no such end, or if it has no mark.
 */
function isMarkedAsOwn(request: CniRequest, host: BlockingNetlink, link: Link): boolean | undefined {
  if (link.kind !== "veth" || link.peerIndex === 0) return undefined;
  const end = findLink(host, link.peerIndex);
  // The index may be that of a link in another namespace.
  if (end?.kind !== "veth" || end.peerIndex !== link.index) return undefined;
  return isOfContainer(end.alias, request, ownerOf(request));
}

/** Links of these kinds share the hardware address of their parent. */
const SHARING_KINDS = ["ipvlan", "vlan"];

/**
 * True if an interface without a mark has the hardware address or one of the addresses of the last result; false if it
 * has none of them. A later plugin in the chain, or the pod, may have changed one of the two since. If the result has
 * no addresses, a different hardware address therefore proves nothing: returns undefined.
 */
function isAsInResult(request: CniRequest, pod: BlockingNetlink, link: Link): boolean | undefined {
  const last = lastResult(request);
  const at = last?.interfaces.findIndex(({ name, sandbox }) => name === request.ifName && sandbox !== undefined) ?? -1;
  const mac = last?.interfaces[at]?.mac;
  // The interface lo has the same hardware address and addresses in every namespace.
  if (last === undefined || mac === undefined || link.name === "lo") return undefined;
  if (!SHARING_KINDS.includes(link.kind) && mac.toLowerCase() === link.mac) return true;
  const ips = last.ips.filter((ip) => ip.interface === undefined || ip.interface === at);
  if (ips.length === 0) return undefined;
  const held = readAddresses(pod, link.index);
  return ips.some(({ address }) => held.some(({ prefix }) => isSamePrefix(prefix, address)));
}

/** Returns `prevResult`. A result that cannot be parsed does not make DEL fail. */
export function lastResult(request: CniRequest): Result | undefined {
  try {
    return request.prevResult;
  } catch (error) {
    if (isCniError(error)) return undefined;
    throw error;
  }
}
