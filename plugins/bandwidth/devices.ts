/**
 * The host's devices that enforce a pod's limits: the host's end of its veth pair, and an ifb device for packets that
 * the pod sends.
 */

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

/**
 * The purpose of an ifb device: one for packets that the pod sends, one for packets that it receives from some subnets
 * only.
 */
export type IfbRole = typeof EGRESS_IFB_START | typeof INGRESS_IFB_START;

/**
 * Returns the device's name. For `bwp` it is the reference's name, so that each of the two plugins removes the other's
 * device.
 */
export function ifbName({ network, containerId }: CniRequest, role: IfbRole = EGRESS_IFB_START): string {
  return `${role}${sha512(`${network}${containerId}`)}`.slice(0, 15);
}

/**
 * Returns the host's end of the pod's veth pair, which must be among the interfaces of `previous`. Throws `CniError` 7.
 */
export function hostDevice(request: CniRequest, host: BlockingNetlink, previous: Result): Link {
  const index = peerIndex(request);
  const link = index === 0 ? undefined : findLink(host, index);
  const isTold = previous.interfaces.some(({ name, sandbox }) => !sandbox && name === link?.name);
  if (link?.kind === "veth" && isTold) return link;
  throw new CniError(
    ErrorCode.invalidConfig,
    `prevResult: expected the host's end of ${request.ifName}'s veth among the interfaces, got ` +
      `${previous.interfaces.map(({ name }) => name).join(", ") || "none"}: place bandwidth after a plugin that creates one`,
  );
}

function peerIndex(request: CniRequest): number {
  return inPod(request, (pod) => {
    const link = findLink(pod, request.ifName);
    return link?.kind === "veth" ? link.peerIndex : 0;
  });
}

/**
 * Creates the ifb device with the pod's MTU and its limit. It is brought up together with our mark, so that every
 * device in use has the mark. It is an error if the name is taken: DEL has to come first.
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
      `the device ${name} of an earlier attachment of ${request.containerId} to ${request.network} exists; call DEL for it first`,
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

/** Finds the attachment's ifb device: with our mark, or without any mark, as the reference creates it. */
export function findIfb(
  request: CniRequest,
  host: BlockingNetlink,
  role: IfbRole = EGRESS_IFB_START,
): Link | undefined {
  const link = findLink(host, ifbName(request, role));
  return link?.kind === "ifb" && (link.alias === "" || link.alias === ownerOf(request)) ? link : undefined;
}
