/** Device kinds that a kernel may lack, and the errors of ADD and STATUS for them. */
import { CniError, ErrorCode } from "../cni/errors.ts";
import type { LinkKindData } from "../kernel/link.ts";
import { createSingleLink, type SingleLink, supportsDevice } from "../kernel/single-link.ts";
import type { BlockingNetlink } from "../netlink/blocking.ts";
import { isNetlinkError } from "../netlink/errors.ts";

/** Creates a link, which is down. If the kernel lacks the device kind, the error says what to do. */
export function makeDevice(netlink: BlockingNetlink, link: SingleLink): void {
  const [reply] = netlink.exchange([createSingleLink(link)]);
  const refused = reply?.error;
  if (refused === undefined) return;
  if (!isNetlinkError(refused, "EOPNOTSUPP")) throw refused;
  const message = `${refused.message}: ${lacksDevice(link.device.kind)}`;
  throw new CniError(ErrorCode.internal, message, { cause: refused });
}

/** STATUS: throws `CniError` 50 if the kernel does not support such devices. */
export function requireDevice(host: BlockingNetlink, kind: LinkKindData["kind"]): void {
  if (!supportsDevice(host, kind)) throw new CniError(ErrorCode.notAvailable, lacksDevice(kind));
}

function lacksDevice(kind: LinkKindData["kind"]): string {
  return `this kernel does not support ${kind} devices: try "modprobe ${kind === "vlan" ? "8021q" : kind}"`;
}
