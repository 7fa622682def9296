/** The parent link of an interface (`master` of macvlan, ipvlan and vlan), on the host or in the pod itself. */

import { CniError, ErrorCode } from "../cni/errors.ts";
import type { CniRequest } from "../cni/plugin.ts";
import { UNFINISHED_LINK_START } from "../footprint.ts";
import type { LinkKindData } from "../kernel/link.ts";
import { changeLink, type Link } from "../kernel/link.ts";
import { findLink } from "../kernel/read.ts";
import { parseRoute, routeDump } from "../kernel/route.ts";
import type { SingleLink } from "../kernel/single-link.ts";
import { type BlockingNetlink, openRoute } from "../netlink/blocking.ts";
import { isExists } from "../netlink/errors.ts";
import { RT_TABLE_MAIN } from "../netlink/route.ts";
import { wrong } from "./check.ts";
import { makeDevice, requireDevice } from "./device.ts";
import type { AttachContext, Checked, NamespaceSockets } from "./interface-plugin.ts";
import { randomLinkName, removeLink } from "./links.ts";
import { mtuOption } from "./options.ts";

/** The configuration keys that macvlan, ipvlan and vlan share. */
export interface ParentConfig {
  /** `master`. Undefined means the link of the default route. */
  readonly master: string | undefined;
  /** `linkInContainer`: the parent is in the pod's namespace. */
  readonly isInPod: boolean;
  readonly mtu: number | undefined;
}

export function parseParent({ config }: CniRequest): ParentConfig {
  return {
    master: config.optionalString("master") || undefined,
    isInPod: config.optionalBoolean("linkInContainer") ?? false,
    mtu: mtuOption(config),
  };
}

/**
 * Returns a function that makes the interface on its parent. Throws `CniError` 7, before anything is changed, if the
 * parent does not exist or has a smaller MTU.
 */
export function prepareOnParent(
  context: AttachContext,
  config: ParentConfig,
  device: LinkKindData,
  mac?: string | undefined,
): () => void {
  const { sockets } = context;
  const parent = findParent(sockets, config);
  const { where } = sideOf(sockets, config);
  if (config.mtu !== undefined && config.mtu > parent.mtu) {
    throw new CniError(
      ErrorCode.invalidConfig,
      `mtu: expected at most ${parent.mtu}, the MTU of ${parent.name} in ${where}, got ${config.mtu}`,
    );
  }
  return () => makeOnParent(context, config, { device, mac, mtu: config.mtu, parentIndex: parent.index });
}

function makeOnParent(context: AttachContext, config: ParentConfig, link: Omit<SingleLink, "name">): void {
  const { request, namespace, sockets, undo } = context;
  const netlink = sideOf(sockets, config);
  const wanted = { ...link, name: request.ifName, namespaceFd: config.isInPod ? undefined : namespace.fd };
  try {
    makeDevice(netlink, wanted);
  } catch (error) {
    // The name is free in the pod, but kernels before 6.13 also search for it among the host's links.
    if (config.isInPod || !isExists(error)) throw error;
    makeRenamed(context, wanted);
  }
  undo.push(() => removeLink(sockets.pod, request.ifName));
}

function makeRenamed({ request, sockets: { host, pod } }: AttachContext, wanted: SingleLink): void {
  const name = randomLinkName(request.system, UNFINISHED_LINK_START);
  makeDevice(host, { ...wanted, name });
  const link = findLink(pod, name);
  if (link === undefined) throw new Error(`the link ${name} disappeared from ${pod.where} while it was being set up`);
  try {
    pod.run(changeLink(link.index, { name: wanted.name }));
  } catch (error) {
    removeLink(pod, link.index);
    throw error;
  }
}

/**
 * CHECK: the interface must be on the link that `master` names. Without `master` nothing is checked: the default route
 * may have changed since ADD.
 */
export function checkParent({ sockets, link }: Checked, config: ParentConfig): void {
  if (config.master === undefined) return;
  const parent = findParent(sockets, config);
  if (link.peerIndex === parent.index) return;
  throw wrong(
    `${link.name} in ${sockets.pod.where} is on the link with index ${link.peerIndex}: expected ${parent.name}, ` +
      `which has index ${parent.index} in ${sideOf(sockets, config).where}`,
  );
}

/**
 * STATUS: the kernel must support the device kind, and the host must have the link that `master` names. Throws
 * `CniError` 50.
 */
export function requireParent(
  { system }: CniRequest,
  { master, isInPod }: ParentConfig,
  kind: LinkKindData["kind"],
): void {
  const host = openRoute(system);
  try {
    requireDevice(host, kind);
    if (master === undefined || isInPod || findLink(host, master) !== undefined) return;
    throw new CniError(ErrorCode.notAvailable, `master: there is no link ${master} in ${host.where}`);
  } finally {
    host.close();
  }
}

/** Returns the parent link. Throws `CniError` 7. */
function findParent(sockets: NamespaceSockets, config: ParentConfig): Link {
  const netlink = sideOf(sockets, config);
  const name = config.master ?? defaultRouteIndex(netlink);
  const link = findLink(netlink, name);
  if (link !== undefined) return link;
  throw new CniError(ErrorCode.invalidConfig, `master: there is no link ${name} in ${netlink.where}`);
}

function sideOf(sockets: NamespaceSockets, { isInPod }: ParentConfig): BlockingNetlink {
  return isInPod ? sockets.pod : sockets.host;
}

function defaultRouteIndex(netlink: BlockingNetlink): number {
  for (const family of [4, 6] as const) {
    for (const message of netlink.dump(routeDump(family))) {
      const route = parseRoute(message);
      if (route?.destination.length !== 0 || route.table !== RT_TABLE_MAIN || !route.outputIndex) continue;
      return route.outputIndex;
    }
  }
  throw new CniError(
    ErrorCode.invalidConfig,
    `master: expected a link's name, because there is no default route in ${netlink.where}`,
  );
}
