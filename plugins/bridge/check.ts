/**
 * CHECK: everything that ADD made is still there and as it was. What others added later is not looked at.
 */
import { CniError, ErrorCode } from "../../pkg/cni/errors.ts";
import type { Request } from "../../pkg/cni/plugin.ts";
import type { Result, ResultInterface } from "../../pkg/cni/result.ts";
import { isSameAddress } from "../../pkg/ip/address.ts";
import { formatPrefix, isSamePrefix } from "../../pkg/ip/prefix.ts";
import { type Link, linkDump, parseLink } from "../../pkg/kernel/link.ts";
import { findLink, readAddresses } from "../../pkg/kernel/read.ts";
import { describeRoute, type ObservedRoute, parseRoute, type Route, routeDump } from "../../pkg/kernel/route.ts";
import { type BlockingNetlink, openRoute } from "../../pkg/netlink/blocking.ts";
import { RT_TABLE_MAIN } from "../../pkg/netlink/route.ts";
import { planAddressing, podRoutes } from "./addressing.ts";
import type { BridgeConfig } from "./config.ts";

export function checkAttachment(request: Request, config: BridgeConfig): void {
  const previous = request.requirePrevResult();
  const pod = openRoute(request.system, request.requireNamespace());
  const host = openRoute(request.system);
  try {
    const podLink = checkPod(pod, request, config, previous);
    const bridge = checkBridge(host, config, previous);
    checkPort(host, config, bridge, podLink);
    checkGateways(host, config, bridge, previous);
  } finally {
    host.close();
    pod.close();
  }
}

function wrong(what: string): CniError {
  return new CniError(ErrorCode.internal, `CHECK: ${what}`);
}

function checkPod(pod: BlockingNetlink, request: Request, config: BridgeConfig, previous: Result): Link {
  const { ifName, netnsPath } = request;
  const where = `${ifName} in ${pod.where}`;
  const at = previous.interfaces.findIndex((entry) => entry.name === ifName && entry.sandbox === netnsPath);
  const told = previous.interfaces[at];
  if (told === undefined) throw wrong(`prevResult names no interface ${ifName} in ${netnsPath}`);
  const link = findLink(pod, ifName);
  if (link === undefined) throw wrong(`the interface ${where} is missing`);
  if (link.kind !== "veth") throw wrong(`the interface ${where} is no veth but ${link.kind || "a physical device"}`);
  if (!link.isUp) throw wrong(`the interface ${where} is down`);
  checkMac(link, told, where);
  if (config.mtu !== undefined && config.mtu !== link.mtu) {
    throw wrong(`the MTU of ${where} is ${link.mtu}: expected ${config.mtu}`);
  }
  const held = readAddresses(pod, link.index);
  const ips = previous.ips.filter((ip) => ip.interface === undefined || ip.interface === at);
  for (const { address } of ips) {
    if (!held.some(({ prefix }) => isSamePrefix(prefix, address))) {
      throw wrong(`the address ${formatPrefix(address)} is missing on ${where}`);
    }
  }
  const observed = ([4, 6] as const).flatMap((family) =>
    pod.dump(routeDump(family)).flatMap((message) => parseRoute(message) ?? []),
  );
  for (const route of podRoutes(previous.routes, ips)) {
    if (!observed.some((candidate) => isSameRoute(candidate, route))) {
      throw wrong(`the route "${describeRoute(route)}" is missing in ${pod.where}`);
    }
  }
  return link;
}

function checkMac(link: Link, told: ResultInterface, where: string): void {
  if (told.mac !== undefined && told.mac !== "" && told.mac.toLowerCase() !== link.mac) {
    throw wrong(`the hardware address of ${where} is ${link.mac}: expected ${told.mac}`);
  }
}

/** What `wanted` states holds of `candidate`; a metric it does not state may be the kernel's own default. */
function isSameRoute(candidate: ObservedRoute, wanted: Route): boolean {
  const sameGateway =
    wanted.gateway === undefined
      ? candidate.gateway === undefined
      : candidate.gateway !== undefined && isSameAddress(candidate.gateway, wanted.gateway);
  return (
    sameGateway &&
    isSamePrefix(candidate.destination, wanted.destination) &&
    candidate.table === (wanted.table ?? RT_TABLE_MAIN) &&
    (wanted.priority === undefined || wanted.priority === 0 || candidate.priority === wanted.priority) &&
    (wanted.mtu === undefined || candidate.mtu === wanted.mtu) &&
    (wanted.advmss === undefined || candidate.advmss === wanted.advmss)
  );
}

function checkBridge(host: BlockingNetlink, config: BridgeConfig, previous: Result): Link {
  const bridge = findLink(host, config.bridge);
  if (bridge === undefined) throw wrong(`the bridge ${config.bridge} is missing`);
  if (bridge.kind !== "bridge") throw wrong(`the device ${config.bridge} is not a bridge`);
  if (!bridge.isUp) throw wrong(`the bridge ${config.bridge} is down`);
  const told = previous.interfaces.find((entry) => entry.name === config.bridge && !entry.sandbox);
  if (told === undefined) throw wrong(`prevResult names no bridge ${config.bridge}`);
  checkMac(bridge, told, `the bridge ${config.bridge}`);
  if (config.promiscMode && !bridge.isPromiscuous) throw wrong(`the bridge ${config.bridge} is not promiscuous`);
  return bridge;
}

/** The pod's end knows its other end by index (IFLA_LINK); the bridge's ports are found by their master. */
function checkPort(host: BlockingNetlink, config: BridgeConfig, bridge: Link, podLink: Link): void {
  const port = host
    .dump(linkDump())
    .map(parseLink)
    .find((link) => link.index === podLink.peerIndex && link.kind === "veth");
  if (port === undefined) throw wrong(`the host's end of ${podLink.name} (index ${podLink.peerIndex}) is missing`);
  if (!port.isUp) throw wrong(`the bridge port ${port.name} is down`);
  if (port.masterIndex !== bridge.index) throw wrong(`${port.name} is no port of the bridge ${bridge.name}`);
  if (config.hairpinMode && port.port?.isHairpin !== true)
    throw wrong(`hairpin mode is off on the bridge port ${port.name}`);
}

function checkGateways(host: BlockingNetlink, config: BridgeConfig, bridge: Link, previous: Result): void {
  if (!config.isGateway || previous.ips.length === 0) return;
  const held = readAddresses(host, bridge.index);
  for (const gateway of planAddressing(previous, config).gateways) {
    if (!held.some(({ prefix }) => isSamePrefix(prefix, gateway))) {
      throw wrong(`the gateway address ${formatPrefix(gateway)} is missing on the bridge ${bridge.name}`);
    }
  }
}
