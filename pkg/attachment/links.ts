/** Links of an attachment: names and hardware addresses for new ones, and removing those that carry its mark. */
import { CniError, ErrorCode, messageOf } from "../cni/errors.ts";
import { formatMac } from "../ip/mac.ts";
import { deleteLink, type Link, linkDump, parseLink } from "../kernel/link.ts";
import { findLink } from "../kernel/read.ts";
import { type BlockingNetlink, openRoute } from "../netlink/blocking.ts";
import { isGone } from "../netlink/errors.ts";
import type { System } from "../sys/system.ts";

/** A unicast, locally administered hardware address. */
export function randomMac(system: System): string {
  const bytes = system.randomBytes(6);
  bytes[0] = ((bytes[0] ?? 0) & 0xfe) | 0x02;
  return formatMac(bytes);
}

/** `prefix` and eight hexadecimal digits. */
export function randomLinkName(system: System, prefix: string): string {
  const digits = [...system.randomBytes(4)].map((byte) => byte.toString(16).padStart(2, "0"));
  return `${prefix}${digits.join("")}`;
}

/** Throws when the pod has an interface of this name: ADD makes a new one (CNI specification, ADD). */
export function assertNameIsFree(pod: BlockingNetlink, ifName: string): void {
  if (findLink(pod, ifName) === undefined) return;
  throw new CniError(
    ErrorCode.invalidEnvironment,
    `CNI_IFNAME: the interface ${ifName} already exists in ${pod.where}: DEL it first, or choose another name`,
  );
}

/** One that is gone already (with the pod's namespace, say) is as good as removed; false for it. */
export function removeLink(netlink: BlockingNetlink, link: string | number): boolean {
  const [reply] = netlink.exchange([deleteLink(link)]);
  if (reply?.error === undefined) return true;
  if (isGone(reply.error)) return false;
  throw reply.error;
}

/** Removes the host's links that `isWanted` names, all of them whatever becomes of each, and tells what failed. */
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
