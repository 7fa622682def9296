/** The pod's end of a cable, brought up. */
import type { Result } from "../cni/result.ts";
import type { Detection } from "../kernel/interface.ts";
import { changeLink, getLink, type Link, parseLink } from "../kernel/link.ts";
import type { AttachContext } from "./interface-plugin.ts";
import { preparePod } from "./sysctls.ts";

/** CNI_IFNAME, up, ready for IPv6 where it will have such addresses. */
export function bringUp(
  { request, namespace, sockets }: Omit<AttachContext, "undo">,
  addresses: Result | undefined,
  detection: Detection = {},
): Link {
  const { ifName, system } = request;
  if (addresses?.ips.some(({ address }) => address.address.family === 6) === true) {
    preparePod(system, namespace, ifName, detection);
  }
  const [message] = sockets.pod.run(changeLink(ifName, { up: true, arpNotify: true }), getLink(ifName));
  if (message === undefined) throw new Error(`no answer to "ip link show ${ifName}" in ${sockets.pod.where}`);
  return parseLink(message);
}
