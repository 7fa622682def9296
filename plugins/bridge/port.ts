/**
 * The pod's port of the bridge: plugged in with its settings and VLANs, and waited for.
 */
import { type Cable, plugCable } from "../../pkg/attachment/cable.ts";
import type { Making } from "../../pkg/attachment/interface-plugin.ts";
import { removeLink } from "../../pkg/attachment/links.ts";
import { refuseAdvertisements } from "../../pkg/attachment/sysctls.ts";
import { CniError, ErrorCode } from "../../pkg/cni/errors.ts";
import { getLink, type Link, type PortSettings, parseLink } from "../../pkg/kernel/link.ts";
import { addPortVlans, clearPortVlans, type PortVlans } from "../../pkg/kernel/port-vlan.ts";
import type { BlockingNetlink } from "../../pkg/netlink/blocking.ts";
import type { System } from "../../pkg/sys/system.ts";
import type { BridgeConfig } from "./config.ts";

export function plugPort(making: Making, config: BridgeConfig, bridge: Link): Cable {
  const { request, sides, undo } = making;
  const { mtu, mac, vlans } = config;
  const cable = plugCable(making, { mtu, mac, masterIndex: bridge.index, port: portSettings(config) });
  undo.push(() => removeLink(sides.host, cable.hostName));
  refuseAdvertisements(request.system, cable.hostName);
  if (vlans?.port !== undefined) putInVlans(sides.host, cable.hostName, vlans.port, vlans.keepsDefault);
  return cable;
}

function portSettings({ hairpinMode, isIsolated }: BridgeConfig): PortSettings | undefined {
  if (!hairpinMode && !isIsolated) return undefined;
  return { ...(hairpinMode ? { hairpin: true } : {}), ...(isIsolated ? { isolated: true } : {}) };
}

/** A new port is in the bridge's default VLAN, and comes out of it unless it `keepsDefault`. */
export function putInVlans(host: BlockingNetlink, name: string, vlans: PortVlans, keepsDefault: boolean): void {
  const [message] = host.run(getLink(name));
  if (message === undefined) throw new Error(`no answer to "ip link show ${name}" in ${host.where}`);
  const { index } = parseLink(message);
  host.run(...(keepsDefault ? [] : [clearPortVlans(index)]), addPortVlans(index, vlans));
}

/** How long a port may take to come up once the pod's end has: the kernel defers it to a work queue. */
const CARRIER_WAITS_MS = [0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000];

/**
 * Waits until frames pass: a port whose carrier has just come is "disabled" for the bridge until the kernel notices. A
 * bridge that was removed meanwhile (another ADD made it, failed, and took it back) leaves a link that is up but leads
 * nowhere: that is refused.
 */
export function waitForPort(host: BlockingNetlink, system: System, hostName: string, bridge: Link): void {
  for (const waitMs of CARRIER_WAITS_MS) {
    if (waitMs > 0) system.sleep(waitMs);
    const [reply] = host.exchange([getLink(hostName)]);
    if (reply?.error !== undefined) throw reply.error;
    const message = reply?.messages[0];
    if (message === undefined) continue;
    const { isOperational, masterIndex } = parseLink(message);
    if (masterIndex !== bridge.index) {
      throw new CniError(
        ErrorCode.tryAgainLater,
        `${hostName} is no port of the bridge ${bridge.name} any more: somebody else has unplugged it; try again`,
      );
    }
    if (isOperational) return;
  }
  throw new CniError(
    ErrorCode.tryAgainLater,
    `the bridge port ${hostName} did not come up within ${CARRIER_WAITS_MS.reduce((sum, ms) => sum + ms, 0)} ms: try again`,
  );
}
