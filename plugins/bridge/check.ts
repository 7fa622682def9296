/** CHECK: verifies that everything that ADD created exists unchanged. Ignores later additions of other programs. */
import { checkAddresses, checkInterface, checkMac, wrong } from "../../pkg/attachment/check.ts";
import { withSockets } from "../../pkg/attachment/interface-plugin.ts";
import { ownerOf } from "../../pkg/attachment/owner.ts";
import { checkSender } from "../../pkg/attachment/senders.ts";
import type { CniRequest } from "../../pkg/cni/plugin.ts";
import type { Result, ResultInterface } from "../../pkg/cni/result.ts";
import { type Link, linkDump, parseLink } from "../../pkg/kernel/link.ts";
import { missingVlan, parsePortVlans, portVlanDump } from "../../pkg/kernel/port-vlan.ts";
import { findLink } from "../../pkg/kernel/read.ts";
import type { BlockingNetlink } from "../../pkg/netlink/blocking.ts";
import { planAddressing } from "./addressing.ts";
import { type BridgeConfig, gatewayName } from "./config.ts";
import { checkGuard } from "./mac-guard.ts";

export function checkAttachment(request: CniRequest, config: BridgeConfig): void {
  const previous = request.requirePrevResult();
  withSockets(request, ({ host, pod }) => {
    const expected = { kind: "veth", isUp: !config.staysDown };
    const podLink = checkInterface(pod, request, previous, expected);
    const bridge = checkBridge(host, config, previous);
    const port = checkPort(host, config, bridge, podLink);
    if (config.vlans !== undefined && port.alias === ownerOf(request)) checkFiltering(bridge);
    checkVlans(host, config, bridge, port);
    checkGateways(host, config, previous);
    if (config.guardsMac) checkGuard(request, { port: port.name, mac: podLink.mac });
    if (config.guardsSenders) checkSender(request, "bridge");
  });
}

function checkBridge(host: BlockingNetlink, config: BridgeConfig, previous: Result): Link {
  const bridge = findLink(host, config.bridge);
  if (bridge === undefined) throw wrong(`the bridge ${config.bridge} is missing`);
  if (bridge.kind !== "bridge") throw wrong(`the device ${config.bridge} is not a bridge`);
  if (!bridge.isUp) throw wrong(`the bridge ${config.bridge} is down`);
  const told = previous.interfaces.find((entry) => entry.name === config.bridge && !entry.sandbox);
  if (told === undefined) throw wrong(`prevResult has no bridge ${config.bridge}`);
  checkBridgeMac(host, bridge, told);
  if (config.promiscMode && !bridge.isPromiscuous) throw wrong(`the bridge ${config.bridge} is not promiscuous`);
  return bridge;
}

/**
 * If no program has set the bridge's address, the bridge uses the lowest address of its ports. Then no other address is
 * expected.
 */
function checkBridgeMac(host: BlockingNetlink, bridge: Link, told: ResultInterface): void {
  if (!told.mac || told.mac.toLowerCase() === bridge.mac) return;
  const links = host.dump(linkDump()).map(parseLink);
  if (links.some(({ masterIndex, mac }) => masterIndex === bridge.index && mac === bridge.mac)) return;
  checkMac(bridge, told, `the bridge ${bridge.name}`);
}

/** ADD enables VLAN filtering. The reference's ADD leaves an existing bridge unchanged. */
function checkFiltering({ name, bridge }: Link): void {
  if (bridge?.filtersVlans !== true) throw wrong(`the bridge ${name} does not filter VLANs`);
}

/** Finds the host's end by the index of the peer (IFLA_LINK) of the pod's end. The port's master is the bridge. */
function checkPort(host: BlockingNetlink, config: BridgeConfig, bridge: Link, podLink: Link): Link {
  const port = findLink(host, podLink.peerIndex);
  if (port?.kind !== "veth") throw wrong(`the host's end of ${podLink.name} (index ${podLink.peerIndex}) is missing`);
  if (!port.isUp) throw wrong(`the bridge port ${port.name} is down`);
  if (port.masterIndex !== bridge.index) throw wrong(`${port.name} is not a port of the bridge ${bridge.name}`);
  if (config.hairpinMode && port.port?.isHairpin !== true)
    throw wrong(`hairpin mode is off on the bridge port ${port.name}`);
  if (config.isIsolated && port.port?.isIsolated !== true) throw wrong(`the bridge port ${port.name} is not isolated`);
  return port;
}

function checkVlans(host: BlockingNetlink, { vlans }: BridgeConfig, bridge: Link, port: Link): void {
  if (vlans?.port === undefined) return;
  const observed = host
    .dump(portVlanDump())
    .map(parsePortVlans)
    .find(({ index }) => index === port.index);
  const missing = missingVlan(observed?.vlans ?? [], vlans.port);
  if (missing === undefined) return;
  const as = missing === vlans.port.native ? "untagged" : "tagged";
  throw wrong(`VLAN ${missing} is not ${as} on the port ${port.name} of the bridge ${bridge.name}`);
}

function checkGateways(host: BlockingNetlink, config: BridgeConfig, previous: Result): void {
  if (!config.isGateway || previous.ips.length === 0) return;
  const name = gatewayName(config);
  const device = findLink(host, name);
  if (device === undefined) throw wrong(`the gateway's device ${name} is missing`);
  if (!device.isUp) throw wrong(`the gateway's device ${name} is down`);
  checkAddresses(host, device, planAddressing(previous, config).gateways, name);
}
