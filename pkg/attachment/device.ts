/** Kinds of devices that a kernel may lack: what ADD and STATUS say then. */
import { CniError, ErrorCode } from "../cni/errors.ts";
import type { LinkKindData } from "../kernel/link.ts";
import { createSingleLink, type SingleLink, supportsDevice } from "../kernel/single-link.ts";
import type { BlockingNetlink } from "../netlink/blocking.ts";
import { isNetlinkError } from "../netlink/errors.ts";

/** Makes a link, down; where the kernel lacks its kind, the error says what to do. */
export function makeDevice(netlink: BlockingNetlink, link: SingleLink): void {
  const [reply] = netlink.exchange([createSingleLink(link)]);
  const refused = reply?.error;
  if (refused === undefined) return;
  if (!isNetlinkError(refused, "EOPNOTSUPP")) throw refused;
  const message = `${refused.message}: ${lacksDevice(link.device.kind)}`;
  throw new CniError(ErrorCode.internal, message, { cause: refused });
}

/** STATUS: throws `CniError` 50 where the kernel has no such devices. */
export function requireDevice(host: BlockingNetlink, kind: LinkKindData["kind"]): void {
  if (!supportsDevice(host, kind)) throw new CniError(ErrorCode.notAvailable, lacksDevice(kind));
}

function lacksDevice(kind: LinkKindData["kind"]): string {
  return `this kernel has no ${kind} devices; "modprobe ${kind === "vlan" ? "8021q" : kind}" may load them`;
}
