/**
 * `vrf`: moves a pod's interface into a VRF of the pod's namespace, which has its own routing table. Follows the plugin
 * that creates the interface. The VRF is removed with its last interface.
 */

import { wrong } from "../../pkg/attachment/check.ts";
import { makeDevice, requireDevice } from "../../pkg/attachment/device.ts";
import { removeLink } from "../../pkg/attachment/links.ts";
import { assertDeviceName } from "../../pkg/attachment/options.ts";
import { inOwnPodAlone, inPod, inPodAlone, requireInterface } from "../../pkg/attachment/pod.ts";
import type { ConfigObject } from "../../pkg/cni/config.ts";
import { CniError, ErrorCode } from "../../pkg/cni/errors.ts";
import type { CniRequest, Plugin } from "../../pkg/cni/plugin.ts";
import { type Undo, undoing } from "../../pkg/cni/undo.ts";
import { versionsFrom } from "../../pkg/cni/versions.ts";
import { FIRST_VRF_TABLE } from "../../pkg/footprint.ts";
import { changeLink, type Link, linkDump, parseLink } from "../../pkg/kernel/link.ts";
import { findLink, readRoutes } from "../../pkg/kernel/read.ts";
import { readDevice } from "../../pkg/kernel/single-link.ts";
import { type BlockingNetlink, openRoute } from "../../pkg/netlink/blocking.ts";
import { isGone } from "../../pkg/netlink/errors.ts";
import { RT_TABLE_DEFAULT, RT_TABLE_LOCAL, RT_TABLE_MAIN } from "../../pkg/netlink/route.ts";
import { moveInterface, readPossessions } from "./enslave.ts";

interface VrfConfig {
  readonly name: string;
  /** Undefined: the existing VRF's table, or a free one. */
  readonly table: number | undefined;
}

/** An existing VRF. */
interface Vrf {
  readonly index: number;
  readonly table: number;
  readonly isUp: boolean;
}

export const plugin: Plugin = {
  name: "vrf",
  about: "moves a container's interface into a VRF",
  versions: versionsFrom("0.3.1"),
  add(request) {
    const config = parseConfig(request.config);
    const previous = request.requirePrevResult();
    inPodAlone(request, (pod) => undoing((undo) => attach(request, pod, config, undo)));
    return previous;
  },
  del(request) {
    const name = request.config.optionalString("vrfname");
    if (name) inOwnPodAlone(request, (pod) => detach(pod, request.ifName, name));
  },
  check(request) {
    const config = parseConfig(request.config);
    request.requirePrevResult();
    inPod(request, (pod) => check(request, pod, config));
  },
  status(request) {
    parseConfig(request.config);
    const host = openRoute(request.system);
    try {
      requireDevice(host, "vrf");
    } finally {
      host.close();
    }
  },
};

function parseConfig(object: ConfigObject): VrfConfig {
  const table = object.optionalInteger("table", { min: 0, max: 2 ** 32 - 1 });
  return {
    name: assertDeviceName(object, "vrfname", object.requiredString("vrfname")),
    table: table === 0 ? undefined : table,
  };
}

function attach(request: CniRequest, pod: BlockingNetlink, config: VrfConfig, undo: Undo): void {
  const link = requireInterface(pod, request);
  if (link.masterIndex !== 0) {
    const master = findLink(pod, link.masterIndex)?.name ?? `index ${link.masterIndex}`;
    throw new CniError(
      ErrorCode.invalidConfig,
      `the interface ${link.name} in ${pod.where} has a master already, ${master}, which a VRF would replace`,
    );
  }
  const { index, table } = findVrf(pod, config) ?? makeVrf(pod, config, undo);
  const possessions = readPossessions(pod, link.index);
  undo.push(() => moveInterface(pod, link.index, possessions, 0, RT_TABLE_MAIN));
  moveInterface(pod, link.index, possessions, index, table);
}

/** Throws `CniError` 7 for a device that is not a VRF, and for a VRF with another table. */
function findVrf(pod: BlockingNetlink, { name, table }: VrfConfig): Vrf | undefined {
  const link = findLink(pod, name);
  if (link === undefined) return undefined;
  const held = tableOf(pod, link);
  if (held === undefined) {
    throw new CniError(
      ErrorCode.invalidConfig,
      `vrfname: the device ${name} in ${pod.where} is not a VRF but ${link.kind || "a physical device"}; choose another name`,
    );
  }
  if (table !== undefined && table !== held) {
    throw new CniError(
      ErrorCode.invalidConfig,
      `table: the VRF ${name} in ${pod.where} exists with table ${held}, not ${table}; remove the key, or choose another name`,
    );
  }
  return { index: link.index, table: held, isUp: link.isUp };
}

function tableOf(pod: BlockingNetlink, { index }: Link): number | undefined {
  const device = readDevice(pod, index);
  return device?.kind === "vrf" ? device.data?.table : undefined;
}

function makeVrf(pod: BlockingNetlink, { name, table: wanted }: VrfConfig, undo: Undo): Vrf {
  const table = wanted ?? freeTable(pod);
  makeDevice(pod, { name, device: { kind: "vrf", data: { table } } });
  undo.push(() => removeLink(pod, name));
  pod.run(changeLink(name, { up: true }));
  const made = findVrf(pod, { name, table });
  if (made === undefined) throw new Error(`the VRF ${name} vanished from ${pod.where} while it was being set up`);
  return made;
}

/** Returns the first table that no VRF has and no route is in. 253 to 255 are the kernel's. */
function freeTable(pod: BlockingNetlink): number {
  const vrfs = pod
    .dump(linkDump())
    .map(parseLink)
    .filter(({ kind }) => kind === "vrf");
  const taken = new Set([
    ...[RT_TABLE_DEFAULT, RT_TABLE_MAIN, RT_TABLE_LOCAL],
    ...vrfs.map((vrf) => tableOf(pod, vrf)),
    ...readRoutes(pod).map(({ table }) => table),
  ]);
  let table = FIRST_VRF_TABLE;
  while (taken.has(table)) table++;
  return table;
}

/** Succeeds if interface or VRF are gone already. A device of the name that is not a VRF belongs to another program. */
function detach(pod: BlockingNetlink, ifName: string, name: string): void {
  const vrf = findLink(pod, name);
  if (vrf === undefined || vrf.kind !== "vrf") return;
  const link = findLink(pod, ifName);
  if (link?.masterIndex === vrf.index) {
    const [reply] = pod.exchange([changeLink(link.index, { masterIndex: 0 })]);
    if (reply?.error !== undefined && !isGone(reply.error)) throw reply.error;
  }
  const isUsed = pod.dump(linkDump()).some((message) => parseLink(message).masterIndex === vrf.index);
  if (!isUsed) removeLink(pod, vrf.index);
}

function check(request: CniRequest, pod: BlockingNetlink, config: VrfConfig): void {
  const vrf = findVrf(pod, config);
  if (vrf === undefined) throw wrong(`the VRF ${config.name} is missing in ${pod.where}`);
  if (!vrf.isUp) throw wrong(`the VRF ${config.name} in ${pod.where} is down`);
  const link = requireInterface(pod, request);
  if (link.masterIndex !== vrf.index)
    throw wrong(`the interface ${link.name} in ${pod.where} is not in ${config.name}`);
}
