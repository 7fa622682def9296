/**
 * ADD: addresses are reserved first, so that what cannot be served never touches a device; then the cable, the pod's side,
 * and what leads to the pod on the host.
 */
import { plugCable, waitForCarrier } from "../../pkg/attachment/cable.ts";
import { type Making, withSides } from "../../pkg/attachment/interface-plugin.ts";
import { reserveAddresses } from "../../pkg/attachment/ipam.ts";
import { assertNameIsFree } from "../../pkg/attachment/links.ts";
import { masqueradeAttachment } from "../../pkg/attachment/masquerade.ts";
import { bringUp } from "../../pkg/attachment/pod-end.ts";
import { enableForwarding, skipDetection } from "../../pkg/attachment/sysctls.ts";
import { notice } from "../../pkg/cni/notice.ts";
import type { CniRequest } from "../../pkg/cni/plugin.ts";
import { decodeDns, type Result } from "../../pkg/cni/result.ts";
import { undoing } from "../../pkg/cni/undo.ts";
import { addAddress } from "../../pkg/kernel/address.ts";
import { addRoute, joinRoute } from "../../pkg/kernel/route.ts";
import { isExists } from "../../pkg/netlink/errors.ts";
import { hostRoute } from "../../pkg/reconcile/pod-cables.ts";
import { planAddressing } from "./addressing.ts";
import { type PtpConfig, parsePtpConfig } from "./config.ts";

export function add(request: CniRequest): Result {
  const config = parsePtpConfig(request.config);
  const dns = decodeDns(request.config.object("dns"));
  const namespace = request.requireNamespace();
  const result = withSides(request, (sides) => undoing((undo) => attach({ request, namespace, sides, undo }, config)));
  if (config.masqueradeNotice !== undefined) notice(request.system, "ptp", config.masqueradeNotice);
  return Object.keys(dns).length > 0 ? { ...result, dns } : result;
}

function attach(making: Making, { ipam, ipMasq, mtu }: PtpConfig): Result {
  const { request, sides, undo } = making;
  assertNameIsFree(sides.pod, request.ifName);
  const addresses = reserveAddresses(request, ipam, undo);
  const { ips, podRoutes, hostAddresses, podAddresses } = planAddressing(addresses);
  const cable = plugCable(making, { mtu, mac: undefined });
  if (ips.some(({ address }) => address.address.family === 6)) skipDetection(request.system, cable.hostName);
  const pod = bringUp(making, addresses);
  sides.pod.run(
    // Without its connected route, which would lead to neighbours that are not on this link.
    ...ips.map(({ address: prefix }) =>
      addAddress({ index: pod.index, prefix, skipDetection: true, withoutPrefixRoute: true }),
    ),
    ...podRoutes.map((route) => joinRoute({ ...route, outputIndex: pod.index })),
  );
  enableForwarding(request.system, ips);
  if (ipMasq) masqueradeAttachment(request, ips, undo);
  const [host] = waitForCarrier(sides.host, request.system, cable.hostName);
  sides.host.run(...podAddresses.map((address) => addRoute(hostRoute(address, host.index))));
  // Last: weftd takes a host's end with an address for whole, and may put another on it before this does.
  const gateways = hostAddresses.map((prefix) => addAddress({ index: host.index, prefix, skipDetection: true }));
  for (const { error } of sides.host.exchange(gateways)) if (error !== undefined && !isExists(error)) throw error;
  return {
    interfaces: [
      { name: cable.hostName, mac: cable.hostMac },
      { name: request.ifName, mac: cable.podMac, sandbox: request.netnsPath },
    ],
    ips,
    routes: addresses.routes,
    dns: addresses.dns,
  };
}
