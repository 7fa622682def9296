/** The devices of the host that a pod's limits sit on: the far end of its veth, and an ifb device for what it sends. */

import { removeLink } from "../../pkg/attachment/links.ts";
import { ownerOf } from "../../pkg/attachment/owner.ts";
import { inPod } from "../../pkg/attachment/pod.ts";
import { CniError, ErrorCode } from "../../pkg/cni/errors.ts";
import type { CniRequest } from "../../pkg/cni/plugin.ts";
import type { Result } from "../../pkg/cni/result.ts";
import type { Undo } from "../../pkg/cni/undo.ts";
import { EGRESS_IFB_START, type INGRESS_IFB_START } from "../../pkg/footprint.ts";
import { sha512 } from "../../pkg/kernel/digest.ts";
import { changeLink, createIfb, getLink, type Link, parseLink } from "../../pkg/kernel/link.ts";
import { findLink } from "../../pkg/kernel/read.ts";
import { addBucket, type Limit } from "../../pkg/kernel/traffic-control.ts";
import type { BlockingNetlink } from "../../pkg/netlink/blocking.ts";
import { isExists } from "../../pkg/netlink/errors.ts";

/** What a pod sends goes through the one; what it receives from some subnets alone, through the other. */
export type IfbRole = typeof EGRESS_IFB_START | typeof INGRESS_IFB_START;

/** Of `bwp` the reference's name, so that each of the two plugins removes what the other has made. */
export function ifbName({ network, containerId }: CniRequest, role: IfbRole = EGRESS_IFB_START): string {
  return `${role}${sha512(`${network}${containerId}`)}`.slice(0, 15);
}

/** The host's end of the pod's veth, which must be among the devices of `previous`. Throws `CniError` 7. */
export function hostDevice(request: CniRequest, host: BlockingNetlink, previous: Result): Link {
  const index = peerIndex(request);
  const link = index === 0 ? undefined : findLink(host, index);
  const isTold = previous.interfaces.some(({ name, sandbox }) => !sandbox && name === link?.name);
  if (link?.kind === "veth" && isTold) return link;
  throw new CniError(
    ErrorCode.invalidConfig,
    `prevResult: expected the host's end of ${request.ifName}'s veth among the interfaces, got ` +
      `${previous.interfaces.map(({ name }) => name).join(", ") || "none"}: bandwidth follows a plugin that makes one`,
  );
}

function peerIndex(request: CniRequest): number {
  return inPod(request, (pod) => {
    const link = findLink(pod, request.ifName);
    return link?.kind === "veth" ? link.peerIndex : 0;
  });
}

/**
 * Makes the ifb device with the pod's MTU and its limit; it comes up with our mark, so that none that carries packets is
 * without. A name that is taken is an error: DEL comes first.
 */
export function makeIfb(
  request: CniRequest,
  host: BlockingNetlink,
  { role = EGRESS_IFB_START, mtu, limit }: { readonly role?: IfbRole; readonly mtu: number; readonly limit: Limit },
  undo: Undo,
): Link {
  const name = ifbName(request, role);
  const [made, got] = host.exchange([createIfb(name, mtu), getLink(name)]);
  if (made?.error !== undefined) {
    if (!isExists(made.error)) throw made.error;
    throw new CniError(
      ErrorCode.invalidEnvironment,
      `the device ${name} of an earlier attachment of ${request.containerId} to ${request.network} exists: DEL that first`,
      { cause: made.error },
    );
  }
  undo.push(() => removeLink(host, name));
  if (got?.error !== undefined) throw got.error;
  const [message] = got?.messages ?? [];
  if (message === undefined) throw new Error(`no answer to "ip link show ${name}" in ${host.where}`);
  const ifb = parseLink(message);
  host.run(addBucket(ifb.index, limit), changeLink(ifb.index, { alias: ownerOf(request), up: true }));
  return ifb;
}

/** The attachment's ifb device: ours by its mark, or one without any, of the reference's. */
export function findIfb(
  request: CniRequest,
  host: BlockingNetlink,
  role: IfbRole = EGRESS_IFB_START,
): Link | undefined {
  const link = findLink(host, ifbName(request, role));
  return link?.kind === "ifb" && (link.alias === "" || link.alias === ownerOf(request)) ? link : undefined;
}
