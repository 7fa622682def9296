/** Attaches the pod's port to the bridge, with its settings and VLANs, and waits until it forwards. */

import type { AttachContext } from "../../pkg/attachment/interface-plugin.ts";
import { createVethPair, type VethPair, waitForCarrier } from "../../pkg/attachment/veth-pair.ts";
import { CniError, ErrorCode } from "../../pkg/cni/errors.ts";
import { getLink, type Link, type LinkState, type PortSettings, parseLink } from "../../pkg/kernel/link.ts";
import { addPortVlans, clearPortVlans, type PortVlans } from "../../pkg/kernel/port-vlan.ts";
import type { BlockingNetlink } from "../../pkg/netlink/blocking.ts";
import type { System } from "../../pkg/sys/system.ts";
import type { BridgeConfig } from "./config.ts";

export function plugPort(context: AttachContext, config: BridgeConfig, bridge: Link): VethPair {
  const { mtu, mac, vlans } = config;
  const veth = createVethPair(context, { mtu, mac, masterIndex: bridge.index, port: portSettings(config) });
  if (vlans?.port !== undefined) putInVlans(context.sockets.host, veth.hostName, vlans.port, vlans.keepsDefault);
  return veth;
}

function portSettings({ hairpinMode, isIsolated }: BridgeConfig): PortSettings | undefined {
  if (!hairpinMode && !isIsolated) return undefined;
  return { ...(hairpinMode ? { hairpin: true } : {}), ...(isIsolated ? { isolated: true } : {}) };
}

/** Sets the VLANs of a port. A new port is in the bridge's default VLAN, which is removed unless `keepsDefault`. */
export function putInVlans(host: BlockingNetlink, name: string, vlans: PortVlans, keepsDefault: boolean): void {
  const [message] = host.run(getLink(name));
  if (message === undefined) throw new Error(`no answer to "ip link show ${name}" in ${host.where}`);
  const { index } = parseLink(message);
  host.run(...(keepsDefault ? [] : [clearPortVlans(index)]), addPortVlans(index, vlans));
}

/**
 * Waits until the port forwards, and returns the bridge in the state with this port. If the bridge was removed
 * meanwhile (another ADD created it, failed, and removed it), the link is up but is not attached. This is an error.
 */
export function waitForPort(host: BlockingNetlink, system: System, hostName: string, bridge: Link): LinkState {
  const [, now = bridge] = waitForCarrier(host, system, hostName, [bridge.index], ({ masterIndex }) => {
    if (masterIndex === bridge.index) return;
    throw new CniError(
      ErrorCode.tryAgainLater,
      `${hostName} is no longer a port of the bridge ${bridge.name}: another program has detached it; try again`,
    );
  });
  return now;
}
