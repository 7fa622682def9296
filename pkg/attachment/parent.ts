/** The link that an interface shares (`master` of macvlan, ipvlan and vlan): on the host, or in the pod itself. */
import { CniError, ErrorCode } from "../cni/errors.ts";
import type { Request } from "../cni/plugin.ts";
import type { Link } from "../kernel/link.ts";
import { findLink } from "../kernel/read.ts";
import { parseRoute, routeDump } from "../kernel/route.ts";
import { createSingleLink, type Device } from "../kernel/single-link.ts";
import type { BlockingNetlink } from "../netlink/blocking.ts";
import { isNetlinkError } from "../netlink/errors.ts";
import { RT_TABLE_MAIN } from "../netlink/route.ts";
import type { Making, Sides } from "./interface-plugin.ts";
import { removeLink } from "./links.ts";
import { mtuOption } from "./options.ts";

/** The keys that macvlan, ipvlan and vlan share. */
export interface ParentConfig {
  /** `master`; undefined is the link of the default route. */
  readonly master: string | undefined;
  /** `linkInContainer`: the parent is in the pod's namespace. */
  readonly isInPod: boolean;
  readonly mtu: number | undefined;
}

export function parseParent({ config }: Request): ParentConfig {
  return {
    master: config.optionalString("master") || undefined,
    isInPod: config.optionalBoolean("linkInContainer") ?? false,
    mtu: mtuOption(config),
  };
}

/** Makes the interface on its parent. Throws `CniError` 7 for a parent that is not there or has a smaller MTU. */
export function makeOnParent(making: Making, config: ParentConfig, device: Device, mac?: string | undefined): void {
  const { request, namespace, sides, undo } = making;
  const parent = findParent(sides, config);
  const netlink = sideOf(sides, config);
  if (config.mtu !== undefined && config.mtu > parent.mtu) {
    throw new CniError(
      ErrorCode.invalidConfig,
      `mtu: expected at most ${parent.mtu}, the MTU of ${parent.name} in ${netlink.where}, got ${config.mtu}`,
    );
  }
  const [created] = netlink.exchange([
    createSingleLink({
      ...{ name: request.ifName, device, mac, mtu: config.mtu, parentIndex: parent.index },
      namespaceFd: config.isInPod ? undefined : namespace.fd,
    }),
  ]);
  if (created?.error !== undefined) {
    if (!isNetlinkError(created.error, "EOPNOTSUPP")) throw created.error;
    throw new CniError(
      ErrorCode.internal,
      `${created.error.message}: this kernel has no ${device.kind} devices; "modprobe ${device.kind === "vlan" ? "8021q" : device.kind}" may load them`,
      { cause: created.error },
    );
  }
  undo.push(() => removeLink(sides.pod, request.ifName));
}

/** Throws `CniError` 7. */
export function findParent(sides: Sides, config: ParentConfig): Link {
  const netlink = sideOf(sides, config);
  const name = config.master ?? defaultRouteIndex(netlink);
  const link = findLink(netlink, name);
  if (link !== undefined) return link;
  throw new CniError(ErrorCode.invalidConfig, `master: there is no link ${name} in ${netlink.where}`);
}

function sideOf(sides: Sides, { isInPod }: ParentConfig): BlockingNetlink {
  return isInPod ? sides.pod : sides.host;
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
    `master: expected a link's name, since there is no default route in ${netlink.where} to take it from`,
  );
}
