/** Brings up the pod's end of a veth pair. */
import type { Result } from "../cni/result.ts";
import type { Detection } from "../kernel/interface.ts";
import { changeLink, getLink, type LinkState, parseLinkState } from "../kernel/link.ts";
import type { AttachContext } from "./interface-plugin.ts";
import { preparePod } from "./sysctls.ts";

/** Brings up CNI_IFNAME and prepares it for IPv6 if it gets IPv6 addresses. */
export function bringUp(
  { request, namespace, sockets }: Omit<AttachContext, "undo">,
  addresses: Result | undefined,
  detection: Detection = {},
): LinkState {
  const { ifName, system } = request;
  if (addresses?.ips.some(({ address }) => address.address.family === 6) === true) {
    preparePod(system, namespace, ifName, detection);
  }
  const [message] = sockets.pod.run(changeLink(ifName, { up: true, arpNotify: true }), getLink(ifName));
  if (message === undefined)
    throw new Error(`the kernel did not answer "ip link show ${ifName}" in ${sockets.pod.where}`);
  return parseLinkState(message);
}
