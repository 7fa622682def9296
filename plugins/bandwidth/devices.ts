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
import { EGRESS_IFB_START, INGRESS_IFB_START } from "../../pkg/footprint.ts";
import { sha512 } from "../../pkg/kernel/digest.ts";
import {
  changeLink,
  createIfb,
  getLink,
  type Link,
  type LinkState,
  parseLink,
  parseLinkState,
} from "../../pkg/kernel/link.ts";
import { findLink } from "../../pkg/kernel/read.ts";
import { addBucket, type Limit } from "../../pkg/kernel/traffic-control.ts";
import type { BlockingNetlink } from "../../pkg/netlink/blocking.ts";
import { isExists, isGoneErrno } from "../../pkg/netlink/errors.ts";

/**
 * The purpose of an ifb device: one for packets that the pod sends, one for packets that it receives from some subnets
 * only.
 */
const IFB_ROLES = [EGRESS_IFB_START, INGRESS_IFB_START] as const;
export type IfbRole = (typeof IFB_ROLES)[number];

/**
 * Returns the device's name. For `bwp` it is the reference's name, so that each of the two plugins removes the other's
 * device.
 */
export function ifbName(request: CniRequest, role: IfbRole = EGRESS_IFB_START): string {
  return nameFor(role, digestOf(request));
}

function nameFor(role: IfbRole, digest: string): string {
  return `${role}${digest}`.slice(0, 15);
}

function digestOf({ network, containerId }: CniRequest): string {
  return sha512(`${network}${containerId}`);
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
): LinkState {
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
  const ifb = parseLinkState(message);
  host.run(addBucket(ifb.index, limit), changeLink(ifb.index, { alias: ownerOf(request), up: true }));
  return ifb;
}

/** Finds the attachment's ifb device: with our mark, or without any mark, as the reference creates it. */
export function findIfb(request: CniRequest, host: BlockingNetlink, role: IfbRole): Link | undefined {
  const link = findLink(host, ifbName(request, role));
  return link !== undefined && isIfbOf(request, link) ? link : undefined;
}

/** Removes the attachment's ifb devices, which `findIfb` finds. */
export function removeIfbs(request: CniRequest, host: BlockingNetlink): void {
  const digest = digestOf(request);
  for (const reply of host.exchange(IFB_ROLES.map((role) => getLink(nameFor(role, digest))))) {
    if (isGoneErrno(reply.errno)) continue;
    if (reply.error !== undefined) throw reply.error;
    for (const link of reply.messages.map(parseLink)) if (isIfbOf(request, link)) removeLink(host, link.index);
  }
}

function isIfbOf(request: CniRequest, { kind, alias }: Link): boolean {
  return kind === "ifb" && (alias === "" || alias === ownerOf(request));
}
