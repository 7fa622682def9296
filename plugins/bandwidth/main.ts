/**
 * `bandwidth`: limits the rates at which a pod receives and sends, with token buckets on the host. Follows a plugin
 * that creates a veth pair.
 */
import { wrong } from "../../pkg/attachment/check.ts";
import { collectGarbage } from "../../pkg/attachment/garbage.ts";
import { removeHostLinks } from "../../pkg/attachment/links.ts";
import { garbageOf } from "../../pkg/attachment/owner.ts";
import { messageOf } from "../../pkg/cni/errors.ts";
import type { CniRequest, Plugin } from "../../pkg/cni/plugin.ts";
import type { Result } from "../../pkg/cni/result.ts";
import { type Undo, undoing } from "../../pkg/cni/undo.ts";
import { versionsFrom } from "../../pkg/cni/versions.ts";
import type { Link } from "../../pkg/kernel/link.ts";
import {
  addBucket,
  addClsact,
  addIngress,
  addRedirection,
  addSubnetFilter,
  deleteBucket,
  deleteIngress,
  filterDump,
  getBucket,
  isBucket,
  isRedirection,
  isSubnetFilter,
  type Limit,
  redirectionDump,
} from "../../pkg/kernel/traffic-control.ts";
import { type BlockingNetlink, openRoute } from "../../pkg/netlink/blocking.ts";
import { isGone, isNetlinkError } from "../../pkg/netlink/errors.ts";
import type { Message, Query, Request } from "../../pkg/netlink/message.ts";
import { type Bandwidth, parseBandwidth, type Subnets } from "./config.ts";
import { findIfb, hostDevice, type IfbRole, ifbName, makeIfb, removeIfbs } from "./devices.ts";
import { filtersOf, type Way, waysOf } from "./subnets.ts";

export const plugin: Plugin = {
  name: "bandwidth",
  about: "limits the rates at which a container receives and sends",
  versions: versionsFrom("0.3.0"),
  add(request) {
    const bandwidth = parseBandwidth(request.config);
    const previous = request.requirePrevResult();
    if (isUnlimited(bandwidth)) return previous;
    return onHost(request, (host) => undoing((undo) => shape(request, host, bandwidth, previous, undo)));
  },
  del(request) {
    onHost(request, (host) => removeIfbs(request, host));
  },
  check(request) {
    const bandwidth = parseBandwidth(request.config);
    const previous = request.requirePrevResult();
    if (!isUnlimited(bandwidth)) onHost(request, (host) => check(request, host, bandwidth, previous));
  },
  status(request) {
    parseBandwidth(request.config);
  },
  gc(request) {
    const isGarbage = garbageOf(request);
    collectGarbage(request, [
      () => removeHostLinks(request.system, ({ alias, kind }) => kind === "ifb" && isGarbage(alias)),
    ]);
  },
};

function onHost<T>({ system }: CniRequest, work: (host: BlockingNetlink) => T): T {
  const host = openRoute(system);
  try {
    return work(host);
  } finally {
    host.close();
  }
}

function isUnlimited({ ingress, egress }: Bandwidth): boolean {
  return ingress === undefined && egress === undefined;
}

/** Packets to the pod leave by the host's device. Packets from the pod arrive there, and pass the ifb device. */
function shape(request: CniRequest, host: BlockingNetlink, bandwidth: Bandwidth, previous: Result, undo: Undo): Result {
  const { ingress, egress } = bandwidth;
  const device = hostDevice(request, host, previous);
  try {
    const { mtu } = device;
    if (bandwidth.subnets !== undefined)
      return shapeSubnets(request, host, device, { ...bandwidth, subnets: bandwidth.subnets }, previous, undo);
    const ifb = egress === undefined ? undefined : makeIfb(request, host, { mtu, limit: egress }, undo);
    const steps: Step[] = [];
    if (ingress !== undefined) steps.push([addBucket(device.index, ingress), deleteBucket(device.index)]);
    if (ifb === undefined) {
      perform(host, steps, undo);
      return previous;
    }
    perform(host, [...steps, [addIngress(device.index), deleteIngress(device.index)]], undo);
    // Only now: after a refused request, the redirection would be added to another program's queueing discipline.
    host.run(addRedirection(device.index, ifb.index));
    return { ...previous, interfaces: [...previous.interfaces, { name: ifb.name, mac: ifb.mac }] };
  } catch (error) {
    // The kernel returns EOPNOTSUPP for kinds of devices that it lacks, and ENOENT for queueing disciplines, filters
    // and actions.
    if (!isNetlinkError(error, "EOPNOTSUPP", "ENOENT")) throw error;
    const advice =
      "limits need a kernel with sch_tbf, ifb, sch_ingress, cls_u32 and act_mirred (with clsact for subnets)";
    throw new Error(`${messageOf(error)}; ${advice}`, { cause: error });
  }
}

/** Creates, for each limited direction, an ifb device with the bucket, and filters that redirect to it. */
function shapeSubnets(
  request: CniRequest,
  host: BlockingNetlink,
  device: Link,
  bandwidth: Bandwidth & { readonly subnets: Subnets },
  previous: Result,
  undo: Undo,
): Result {
  const ways = waysOf(bandwidth);
  const { mtu } = device;
  const ifbs = ways.map(({ role, limit }) => makeIfb(request, host, { role, mtu, limit }, undo));
  perform(host, [[addClsact(device.index), deleteIngress(device.index)]], undo);
  // Only now: after a refused request, the filters would be added to another program's queueing discipline.
  host.run(
    ...ways.flatMap((way, at) => {
      const ifb = ifbs[at];
      return ifb === undefined ? [] : filtersOf(way, bandwidth.subnets, device, ifb).map(addSubnetFilter);
    }),
  );
  return { ...previous, interfaces: [...previous.interfaces, ...ifbs.map(({ name, mac }) => ({ name, mac }))] };
}

/** A change, and the request that undoes it. */
type Step = readonly [change: Request, opposite: Request];

/** Carries out all steps, and throws the first refusal. Successful steps are on the undo list. */
function perform(host: BlockingNetlink, steps: readonly Step[], undo: Undo): void {
  const replies = host.exchange(steps.map(([change]) => change));
  replies.forEach(({ error }, at) => {
    const opposite = steps[at]?.[1];
    if (error === undefined && opposite !== undefined) undo.push(() => undoStep(host, opposite));
  });
  const refused = replies.find(({ error }) => error !== undefined);
  if (refused?.error !== undefined) throw refused.error;
}

function undoStep(host: BlockingNetlink, opposite: Request): void {
  const [reply] = host.exchange([opposite]);
  if (reply?.error !== undefined && !isGone(reply.error)) throw reply.error;
}

function check(request: CniRequest, host: BlockingNetlink, bandwidth: Bandwidth, previous: Result): void {
  const { ingress, egress } = bandwidth;
  const device = hostDevice(request, host, previous);
  if (bandwidth.subnets !== undefined) {
    for (const way of waysOf(bandwidth)) checkWay(request, host, device, bandwidth.subnets, way);
    return;
  }
  if (ingress !== undefined) checkBucket(host, device, ingress);
  if (egress === undefined) return;
  const ifb = requireIfb(request, host, "bwp");
  checkBucket(host, ifb, egress);
  if (!readFilters(host, redirectionDump(device.index)).some((message) => isRedirection(message, ifb.index))) {
    throw wrong(`packets that arrive on ${device.name} in ${host.where} are not redirected to ${ifb.name}`);
  }
}

function checkWay(request: CniRequest, host: BlockingNetlink, device: Link, subnets: Subnets, way: Way): void {
  const ifb = requireIfb(request, host, way.role);
  checkBucket(host, ifb, way.limit);
  const held = readFilters(host, filterDump(device.index, way.hook));
  for (const filter of filtersOf(way, subnets, device, ifb)) {
    if (held.some((message) => isSubnetFilter(message, filter))) continue;
    throw wrong(`a filter of ${device.name} in ${host.where} is missing: ${addSubnetFilter(filter).text}`);
  }
}

function requireIfb(request: CniRequest, host: BlockingNetlink, role: IfbRole): Link {
  const ifb = findIfb(request, host, role);
  if (ifb === undefined) throw wrong(`the device ${ifbName(request, role)} is missing in ${host.where}`);
  if (!ifb.isUp) throw wrong(`the device ${ifb.name} in ${host.where} is down`);
  return ifb;
}

function checkBucket(host: BlockingNetlink, device: Link, limit: Limit): void {
  const held = host.run(getBucket(device.index));
  if (held.some((message) => isBucket(message, limit))) return;
  const expected = `${limit.bytesPerSecond} bytes a second with bursts of ${limit.burstBytes}`;
  throw wrong(`${device.name} in ${host.where} is not limited as configured: expected tbf with ${expected}`);
}

function readFilters(host: BlockingNetlink, dump: Query): readonly Message[] {
  try {
    return host.dump(dump);
  } catch (error) {
    // There is no queueing discipline that could have filters.
    if (isNetlinkError(error, "EINVAL", "ENOENT")) return [];
    throw error;
  }
}
