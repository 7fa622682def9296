/** CHECK: verifies that everything that ADD created exists unchanged. Ignores later additions of other programs. */
import { checkAddresses, checkInterface, checkMac, checkRoutes, wrong } from "../../pkg/attachment/check.ts";
import { withSockets } from "../../pkg/attachment/interface-plugin.ts";
import { checkSender } from "../../pkg/attachment/senders.ts";
import type { CniRequest } from "../../pkg/cni/plugin.ts";
import { findLink } from "../../pkg/kernel/read.ts";
import { hostRoute } from "../../pkg/reconcile/routed-pods.ts";
import { planAddressing } from "./addressing.ts";
import type { PtpConfig } from "./config.ts";

export function checkAttachment(request: CniRequest, { guardsSenders }: Pick<PtpConfig, "guardsSenders">): void {
  const previous = request.requirePrevResult();
  withSockets(request, (sockets) => {
    const pod = checkInterface(sockets.pod, request, previous, { kind: "veth" });
    const at = previous.interfaces.findIndex(({ name, sandbox }) => name === pod.name && sandbox === request.netnsPath);
    const ips = previous.ips.filter((ip) => ip.interface === undefined || ip.interface === at);
    const { podRoutes, hostAddresses, podAddresses } = planAddressing({ ...previous, ips, routes: [] });
    checkRoutes(sockets.pod, podRoutes);
    const host = findLink(sockets.host, pod.peerIndex);
    if (host?.kind !== "veth") throw wrong(`the host's end of ${pod.name} (index ${pod.peerIndex}) is missing`);
    if (!host.isUp) throw wrong(`the host's end ${host.name} of ${pod.name} is down`);
    const told = previous.interfaces.find(({ name, sandbox }) => name === host.name && !sandbox);
    if (told === undefined) throw wrong(`prevResult has no interface ${host.name} on the host`);
    checkMac(host, told, host.name);
    checkAddresses(sockets.host, host, hostAddresses, host.name);
    checkRoutes(
      sockets.host,
      podAddresses.map((address) => hostRoute(address, host.index)),
    );
    if (guardsSenders) checkSender(request, "ptp");
  });
}
