/**
 * ADD. Addresses are reserved first, so that a call that cannot succeed never touches a device. Then follow the veth
 * pair, the pod's side, and the host's routes to the pod.
 */

import { type BeforeUp, bringUpHost } from "../../pkg/attachment/before-up.ts";
import { waitForCompletion } from "../../pkg/attachment/duplicates.ts";
import { type AttachContext, withSockets } from "../../pkg/attachment/interface-plugin.ts";
import { reserveAddresses } from "../../pkg/attachment/ipam.ts";
import { assertNameIsFree } from "../../pkg/attachment/links.ts";
import { masqueradeAttachment } from "../../pkg/attachment/masquerade.ts";
import { bringUp } from "../../pkg/attachment/pod-end.ts";
import { isolation } from "../../pkg/attachment/policy/isolate.ts";
import { guardSender } from "../../pkg/attachment/senders.ts";
import { enableForwarding, skipDetection } from "../../pkg/attachment/sysctls.ts";
import { createVethPair, waitForCarrier } from "../../pkg/attachment/veth-pair.ts";
import { notice } from "../../pkg/cni/notice.ts";
import type { CniRequest } from "../../pkg/cni/plugin.ts";
import { decodeDns, type Result } from "../../pkg/cni/result.ts";
import { undoing } from "../../pkg/cni/undo.ts";
import { addAddress } from "../../pkg/kernel/address.ts";
import { addRoute, joinRoute } from "../../pkg/kernel/route.ts";
import { isExists } from "../../pkg/netlink/errors.ts";
import { hostRoute } from "../../pkg/reconcile/routed-pods.ts";
import { planAddressing } from "./addressing.ts";
import { type PtpConfig, parsePtpConfig } from "./config.ts";

export function add(request: CniRequest): Result {
  const config = parsePtpConfig(request.config);
  const dns = decodeDns(request.config.object("dns"));
  const namespace = request.requireNamespace();
  const result = withSockets(request, (sockets) =>
    undoing((undo) => attach({ request, namespace, sockets, undo }, config)),
  );
  if (config.masqueradeNotice !== undefined) notice(request.system, "ptp", config.masqueradeNotice);
  return Object.keys(dns).length > 0 ? { ...result, dns } : result;
}

const guard: BeforeUp = (context, port) => guardSender("ptp", context, port);

function attach(context: AttachContext, { ipam, ipMasq, mtu, guardsSenders, networkPolicy }: PtpConfig): Result {
  const { request, sockets, undo } = context;
  assertNameIsFree(sockets.pod, request.ifName);
  const addresses = reserveAddresses(request, ipam, undo);
  const { ips, podRoutes, hostAddresses, podAddresses } = planAddressing(addresses);
  const veth = createVethPair(context, { mtu, mac: undefined });
  const hasIpv6 = ips.some(({ address }) => address.address.family === 6);
  if (hasIpv6) skipDetection(request.system, veth.hostName);
  const actions = [...(guardsSenders ? [guard] : []), ...isolation("ptp", networkPolicy)];
  bringUpHost(context, { veth, addresses: podAddresses }, actions);
  const pod = bringUp(context, addresses);
  sockets.pod.run(
    // The connected route is omitted, since it would cover neighbours that are not on this link.
    ...ips.map(({ address: prefix }) =>
      addAddress({ index: pod.index, prefix, skipDetection: true, withoutPrefixRoute: true }),
    ),
    ...podRoutes.map((route) => joinRoute({ ...route, outputIndex: pod.index })),
  );
  enableForwarding(request.system, ips);
  if (ipMasq) masqueradeAttachment(request, ips, undo);
  const [host] = waitForCarrier(sockets.host, request.system, veth.hostName);
  sockets.host.run(...podAddresses.map((address) => addRoute(hostRoute(address, host.index))));
  // Last: weftd treats a host's end with an address as complete, and may add another address before this does.
  const gateways = hostAddresses.map((prefix) => addAddress({ index: host.index, prefix, skipDetection: true }));
  for (const { error } of sockets.host.exchange(gateways)) if (error !== undefined && !isExists(error)) throw error;
  if (hasIpv6) {
    waitForCompletion(sockets.host, request.system, host.index);
    waitForCompletion(sockets.pod, request.system, pod.index);
  }
  return {
    interfaces: [
      { name: veth.hostName, mac: veth.hostMac },
      { name: request.ifName, mac: veth.podMac, sandbox: request.netnsPath },
    ],
    ips,
    routes: addresses.routes,
    dns: addresses.dns,
  };
}
