/**
 * The device with the gateway's addresses: the bridge itself or, for pods in a VLAN, `<bridge>.<vlan>`. The latter is
 * one end of a veth pair whose other end is a port in that VLAN, as the reference creates it. It stays for other pods,
 * as the bridge does.
 */

import type { AttachContext } from "../../pkg/attachment/interface-plugin.ts";
import { randomMac, removeLink } from "../../pkg/attachment/links.ts";
import { refuseAdvertisements } from "../../pkg/attachment/sysctls.ts";
import { makeVeth } from "../../pkg/attachment/veth-pair.ts";
import { changeLink, type Link } from "../../pkg/kernel/link.ts";
import { isInVlan, parsePortVlans, portVlanDump } from "../../pkg/kernel/port-vlan.ts";
import { findLink } from "../../pkg/kernel/read.ts";
import type { BlockingNetlink } from "../../pkg/netlink/blocking.ts";
import { isExists } from "../../pkg/netlink/errors.ts";
import { type BridgeConfig, gatewayName } from "./config.ts";
import { putInVlans } from "./port.ts";

/** Finds the device, of any kind, or creates it, and brings it up. `pod` is the name of the pod's port. */
export function ensureGateway(context: AttachContext, config: BridgeConfig, bridge: Link, pod: string): Link {
  const vlan = config.vlans?.id;
  if (vlan === undefined) return bridge;
  const { host } = context.sockets;
  const name = gatewayName(config);
  const gateway = findLink(host, name) ?? makeGateway(context, config, bridge, vlan, pod);
  refuseAdvertisements(context.request.system, name);
  if (!gateway.isUp) host.run(changeLink(gateway.index, { up: true }));
  return gateway;
}

function makeGateway(context: AttachContext, config: BridgeConfig, bridge: Link, vlan: number, pod: string): Link {
  const { request, sockets, undo } = context;
  const { system } = request;
  const name = gatewayName(config);
  const { mtu } = bridge;
  const pair = { mac: randomMac(system), mtu, masterIndex: bridge.index, peer: { name, mac: randomMac(system), mtu } };
  try {
    const port = makeVeth(sockets.host, system, pair, (error) => {
      if (findLink(sockets.host, name) !== undefined) throw error;
    });
    undo.push(() => {
      if (!isVlanUsed(sockets.host, bridge, vlan, [pod, port])) removeLink(sockets.host, name);
    });
    refuseAdvertisements(system, port);
    putInVlans(sockets.host, port, { native: vlan, tagged: [] }, config.vlans?.keepsDefault ?? false);
  } catch (error) {
    // Another ADD was faster; its device is used.
    if (!isExists(error)) throw error;
  }
  const gateway = findLink(sockets.host, name);
  if (gateway === undefined) throw new Error(`the gateway's device ${name} vanished while it was being made`);
  return gateway;
}

/** Another ADD may have added its pod to the VLAN meanwhile. */
function isVlanUsed(host: BlockingNetlink, bridge: Link, vlan: number, own: readonly string[]): boolean {
  return host
    .dump(portVlanDump())
    .map(parsePortVlans)
    .some((port) => port.bridgeIndex === bridge.index && isInVlan(port, vlan) && !own.includes(port.name));
}
