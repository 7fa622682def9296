/** Links of an attachment: names and hardware addresses for new links, and removal of links with its mark. */
import { CniError, ErrorCode, messageOf } from "../cni/errors.ts";
import { formatMac } from "../ip/mac.ts";
import { deleteLink, type Link, linkDump, parseLink } from "../kernel/link.ts";
import { findLink } from "../kernel/read.ts";
import { type BlockingNetlink, openRoute } from "../netlink/blocking.ts";
import { isGone } from "../netlink/errors.ts";
import type { System } from "../sys/system.ts";

/** Returns a random unicast, locally administered hardware address. */
export function randomMac(system: System): string {
  const bytes = system.randomBytes(6);
  bytes[0] = ((bytes[0] ?? 0) & 0xfe) | 0x02;
  return formatMac(bytes);
}

/** Returns `prefix` followed by eight random hexadecimal digits. */
export function randomLinkName(system: System, prefix: string): string {
  const digits = [...system.randomBytes(4)].map((byte) => byte.toString(16).padStart(2, "0"));
  return `${prefix}${digits.join("")}`;
}

/** Throws if the pod already has an interface of this name: ADD must create a new one (CNI specification, ADD). */
export function assertNameIsFree(pod: BlockingNetlink, ifName: string): void {
  if (findLink(pod, ifName) === undefined) return;
  throw new CniError(
    ErrorCode.invalidEnvironment,
    `CNI_IFNAME: the interface ${ifName} already exists in ${pod.where}: DEL it first, or choose another name`,
  );
}

/** Removes a link. Returns false if it no longer exists, for example because the pod's namespace is gone. */
export function removeLink(netlink: BlockingNetlink, link: string | number): boolean {
  const [reply] = netlink.exchange([deleteLink(link)]);
  if (reply?.error === undefined) return true;
  if (isGone(reply.error)) return false;
  throw reply.error;
}

/**
 * Removes all links on the host for which `isWanted` is true. Tries every link, then throws one error for all failures.
 */
export function removeHostLinks(system: System, isWanted: (link: Link) => boolean): void {
  const host = openRoute(system);
  try {
    const wanted = host.dump(linkDump()).map(parseLink).filter(isWanted);
    const refused = host.exchange(wanted.map(({ index }) => deleteLink(index))).flatMap(({ error }) => error ?? []);
    const failed = refused.filter((error) => !isGone(error));
    if (failed.length > 0) throw new Error(failed.map(messageOf).join("; "));
  } finally {
    host.close();
  }
}
