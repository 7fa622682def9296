/**
 * Who a kernel object belongs to: the text in a link's alias (`ifalias`), in a rule's or an element's comment. Clean-up
 * touches only what carries such a mark.
 */
import { MARK_START } from "../footprint.ts";
import type { ObjectIdentity } from "../netlink/message.ts";
import { fnv1a64, hexadecimal } from "./digest.ts";

/** nft shows comments of at most 128 bytes with their NUL (NFTNL_UDATA_COMMENT_MAXLEN); aliases may be longer. */
const LONGEST_MARK = 127;
/** With the usual container id (64 characters) and the longest interface name (15), a mark of it is not too long. */
const LONGEST_NETWORK = 40;
/** "~" and 16 hexadecimal digits. */
const DIGEST_LENGTH = 17;

/** An attachment: one interface of one container on one network, as the CNI specification identifies it (section 2). */
export interface Attachment {
  readonly network: string;
  readonly containerId: string;
  readonly ifName: string;
}

/**
 * `cni:<network>/<container>/<ifname>`. A network's name that is too long stands there as its digest, and a mark that is
 * still too long is cut, with a digest of all of it at its end: the same attachment always gets the same mark. The three
 * parts hold ASCII only (the protocol's rules for them), and none begins with "~".
 */
export function ownerMark(attachment: Attachment): string {
  const mark = `${networkMark(attachment.network)}${attachment.containerId}/${attachment.ifName}`;
  if (mark.length <= LONGEST_MARK) return mark;
  return `${mark.slice(0, LONGEST_MARK - DIGEST_LENGTH)}${digest(mark)}`;
}

/** The attachment that a mark names; `undefined` where the mark was cut, or is of another form. */
export function parseOwner(mark: string): Attachment | undefined {
  const [, network, containerId, ifName] = /^cni:([^/~]+)\/([^/]+)\/([^/~]+)$/.exec(mark) ?? [];
  if (network === undefined || containerId === undefined || ifName === undefined) return undefined;
  return mark.length > LONGEST_MARK ? undefined : { network, containerId, ifName };
}

/**
 * True when `mark` is that of an attachment of the container, false when it is another container's; `undefined` where it is no
 * mark, or was cut within an id that begins as the container's. `own` is the attachment's.
 */
export function isOfContainer(
  mark: string,
  { containerId }: Pick<Attachment, "containerId">,
  own: string,
): boolean | undefined {
  if (mark === own) return true;
  const [, id, end] = /^cni:[^/]+\/([^/~]+)(\/|~|$)/.exec(mark) ?? [];
  if (id === undefined) return undefined;
  if (end === "/") return id === containerId;
  return containerId.startsWith(id) ? undefined : false;
}

/** All rules of the attachment with this mark, in whichever tables. */
export function attachmentObject(mark: string): ObjectIdentity {
  return { kind: "attachment", key: mark };
}

/** For people; a mark that is not of this form is its own description. */
export function describeOwner(mark: string): string {
  const parts = /^cni:([^/]+)\/([^/]+)\/(.+)$/.exec(mark);
  return parts === null ? mark : `container ${parts[2]}, interface ${parts[3]}, network ${parts[1]}`;
}

/** True when `mark` is that of an attachment of `network`. */
export function isOfNetwork(mark: string, network: string): boolean {
  return mark.startsWith(networkMark(network));
}

/** What the marks of all of a network's attachments begin with, and those of no other network. */
function networkMark(network: string): string {
  return `${MARK_START}${network.length <= LONGEST_NETWORK ? network : digest(network)}/`;
}

function digest(text: string): string {
  return `~${hexadecimal(fnv1a64(text))}`;
}
