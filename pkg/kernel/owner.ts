/**
 * The owner of a kernel object: a mark in a link's alias (`ifalias`), or in the comment of a rule or an element.
 * Cleanup changes only objects that carry such a mark.
 */
import { MARK_START } from "../footprint.ts";
import type { ObjectIdentity } from "../netlink/message.ts";
import { fnv1a64, hexadecimal } from "./digest.ts";

/** nft shows comments of at most 128 bytes with their NUL (NFTNL_UDATA_COMMENT_MAXLEN); aliases may be longer. */
const LONGEST_MARK = 127;
/**
 * The longest network name that fits into a mark together with a usual container id (64 characters) and the longest
 * interface name (15).
 */
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
 * Returns `cni:<network>/<container>/<ifname>`. The digest of a network name replaces a name that is too long. A mark
 * that is still too long is cut and ends in a digest of the full mark, so the same attachment always gets the same
 * mark. The three parts are ASCII only (rules of the CNI specification), and none begins with "~".
 */
export function ownerMark(attachment: Attachment): string {
  const mark = `${networkMark(attachment.network)}${attachment.containerId}/${attachment.ifName}`;
  if (mark.length <= LONGEST_MARK) return mark;
  return `${mark.slice(0, LONGEST_MARK - DIGEST_LENGTH)}${digest(mark)}`;
}

/** Parses the attachment from a mark. Returns `undefined` if the mark was cut or has another form. */
export function parseOwner(mark: string): Attachment | undefined {
  const [, network, containerId, ifName] = /^cni:([^/~]+)\/([^/]+)\/([^/~]+)$/.exec(mark) ?? [];
  if (network === undefined || containerId === undefined || ifName === undefined) return undefined;
  return mark.length > LONGEST_MARK ? undefined : { network, containerId, ifName };
}

/**
 * True if `mark` belongs to an attachment of the container, false if it belongs to another container. Returns
 * `undefined` if the text is not a mark, or was cut within an id that has the same prefix as the container's. `own` is
 * the mark of the attachment itself.
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

/** Identifies all rules of the attachment with this mark, in every table. */
export function attachmentObject(mark: string): ObjectIdentity {
  return { kind: "attachment", key: mark };
}

/** Describes a mark for people. Returns text of any other form unchanged. */
export function describeOwner(mark: string): string {
  const parts = /^cni:([^/]+)\/([^/]+)\/(.+)$/.exec(mark);
  return parts === null ? mark : `container ${parts[2]}, interface ${parts[3]}, network ${parts[1]}`;
}

/** True if `mark` belongs to an attachment of `network`. */
export function isOfNetwork(mark: string, network: string): boolean {
  return mark.startsWith(networkMark(network));
}

/** The prefix of the marks of all of a network's attachments; no other network's marks begin with it. */
function networkMark(network: string): string {
  return `${MARK_START}${network.length <= LONGEST_NETWORK ? network : digest(network)}/`;
}

function digest(text: string): string {
  return `~${hexadecimal(fnv1a64(text))}`;
}
