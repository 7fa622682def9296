/**
 * ADD. Addresses are reserved first, so that a call that cannot succeed (an exhausted range, a bad configuration) never
 * touches a device. Only dhcp needs the interface before it can request an address. Then follow the bridge, the veth
 * pair, the pod's side and the gateway.
 */

import { type BeforeUp, bringUpHost, type NewPort } from "../../pkg/attachment/before-up.ts";
import { waitForCompletion, waitForDetection } from "../../pkg/attachment/duplicates.ts";
import { type AttachContext, withSockets } from "../../pkg/attachment/interface-plugin.ts";
import { ipamType, reserveAddresses } from "../../pkg/attachment/ipam.ts";
import { assertNameIsFree, randomMac, removeLink } from "../../pkg/attachment/links.ts";
import { masqueradeAttachment } from "../../pkg/attachment/masquerade.ts";
import { bringUp } from "../../pkg/attachment/pod-end.ts";
import { isolation } from "../../pkg/attachment/policy/isolate.ts";
import { podRoutes } from "../../pkg/attachment/routes.ts";
import { guardAddresses, guardSender } from "../../pkg/attachment/senders.ts";
import { enableForwarding, refuseAdvertisements } from "../../pkg/attachment/sysctls.ts";
import type { VethPair } from "../../pkg/attachment/veth-pair.ts";
import { CniError, ErrorCode, messageOf } from "../../pkg/cni/errors.ts";
import { notice } from "../../pkg/cni/notice.ts";
import type { CniRequest } from "../../pkg/cni/plugin.ts";
import { decodeDns, EMPTY_RESULT, type Result } from "../../pkg/cni/result.ts";
import { undoing } from "../../pkg/cni/undo.ts";
import type { Address } from "../../pkg/ip/address.ts";
import { configureInterface } from "../../pkg/kernel/interface.ts";
import { type Link, type LinkState, linkDump, parseLink } from "../../pkg/kernel/link.ts";
import { findLink } from "../../pkg/kernel/read.ts";
import type { Request } from "../../pkg/netlink/message.ts";
import { type Addressing, planAddressing } from "./addressing.ts";
import { announce } from "./announce.ts";
import { type BridgeConfig, parseBridgeConfig } from "./config.ts";
import { applyGateways, ensureBridge, type FoundBridge, holdGateways } from "./device.ts";
import { ensureGateway } from "./gateway.ts";
import { guardMac } from "./mac-guard.ts";
import { pinMac } from "./mac-pin.ts";
import { plugPort, waitForPort } from "./port.ts";

/** The maximum of attempts. An attempt fails if another ADD removes the bridge that it has just created. */
const ATTEMPTS = 3;

export function add(request: CniRequest): Result {
  const config = parseBridgeConfig(request.config, request.args);
  const dns = decodeDns(request.config.object("dns"));
  const namespace = request.requireNamespace();
  const result = withSockets(request, (sockets) =>
    withBridge(() => undoing((undo) => attach({ request, config, namespace, sockets, undo }))),
  );
  if (config.masqueradeNotice !== undefined) notice(request.system, "bridge", config.masqueradeNotice);
  return Object.keys(dns).length > 0 ? { ...result, dns } : result;
}

interface Work extends AttachContext {
  readonly config: BridgeConfig;
}

/** Another program removed the bridge that this ADD had found. */
class BridgeVanished extends CniError {}

/** Calls `attach`, and repeats it if the bridge vanished meanwhile. It has undone its changes then. */
function withBridge(attach: () => Result): Result {
  for (let attempt = 1; ; attempt++) {
    try {
      return attach();
    } catch (error) {
      if (!(error instanceof BridgeVanished) || attempt === ATTEMPTS) throw error;
    }
  }
}

function attach(work: Work): Result {
  const { request, config, sockets, undo } = work;
  const ipam = ipamType(request.config);
  assertNameIsFree(sockets.pod, request.ifName);
  const addresses = ipam === undefined || ipam === "dhcp" ? undefined : reserveAddresses(request, ipam, undo);
  const isolating = isolation(
    request,
    { plugin: "bridge", key: config.networkPolicy, addresses: addresses === undefined ? [] : addressesOf(addresses) },
    undo,
  );
  const found = makeBridge(work);
  const { bridge } = found;
  try {
    return attachTo(found, work, addresses, isolating);
  } catch (error) {
    if (findLink(sockets.host, bridge.index) !== undefined) throw error;
    throw new BridgeVanished(
      ErrorCode.tryAgainLater,
      `the bridge ${bridge.name} vanished while ${request.ifName} was being attached to it; try again (${messageOf(error)})`,
      { cause: error },
    );
  }
}

/** `isolating` is the last of the actions before the pod can send. */
function attachTo(
  found: FoundBridge,
  work: Work,
  reserved: Result | undefined,
  isolating: readonly BeforeUp[],
): Result {
  const { request, config, sockets, undo } = work;
  const { bridge } = found;
  const ipam = ipamType(request.config);
  const early = reserved === undefined ? undefined : prepare(work, found, reserved);
  const veth = plugPort(work, config, bridge);
  const addresses = reserved === undefined ? undefined : addressesOf(reserved);
  bringUpHost(work, { veth, addresses }, [...guards(config), ...isolating]);
  if (config.staysDown) return describe(work, [findLink(sockets.host, bridge.index) ?? bridge], veth, EMPTY_RESULT);
  const podLink = bringUp(work, reserved, config);
  const result = ipam === "dhcp" ? reserveAddresses(request, ipam, undo) : reserved;
  if (config.guardsSenders && reserved === undefined && result !== undefined)
    guardAddresses("bridge", work, { veth }, addressesOf(result));
  const prepared = early ?? (result === undefined ? undefined : prepare(work, found, result));
  const gateway = prepared === undefined ? undefined : configure(work, { bridge, veth, podLink }, prepared);
  const plugged = waitForPort(sockets.host, request.system, veth.hostName, bridge);
  if (prepared !== undefined) {
    const podAddresses = prepared.addressing.ips.map(({ address }) => address.address);
    const { hairpinMode: isHairpin } = config;
    announce(work, { veth, podLink, hostDevice: gateway ?? bridge, addresses: podAddresses, isHairpin });
  }
  return describe(work, gateway === undefined ? [plugged] : [plugged, gateway], veth, {
    ...(result ?? EMPTY_RESULT),
    ...prepared?.addressing,
  });
}

function addressesOf({ ips }: Result): Address[] {
  return ips.map(({ address }) => address.address);
}

/** The guards that the configuration requires before the pod can send. */
function guards(config: BridgeConfig): BeforeUp[] {
  return [
    ...(config.guardsMac ? [guardMac] : []),
    ...(config.guardsSenders ? [(context: AttachContext, port: NewPort) => guardSender("bridge", context, port)] : []),
  ];
}

function makeBridge({ request, config, sockets, undo }: Work): FoundBridge {
  const { bridge, wasMade } = ensureBridge(sockets.host, config, randomMac(request.system));
  if (wasMade) {
    undo.push(() => {
      // Another ADD may have attached its pod meanwhile.
      const isUsed = sockets.host.dump(linkDump()).some((message) => parseLink(message).masterIndex === bridge.index);
      if (!isUsed) removeLink(sockets.host, bridge.index);
    });
  }
  refuseAdvertisements(request.system, bridge.name);
  return { bridge, wasMade };
}

interface Prepared {
  readonly addressing: Addressing;
  /** Requests that add the gateway's addresses to the bridge. Undefined if another device has them. */
  readonly gatewayRequests: readonly Request[] | undefined;
}

/**
 * Computes what the result of IPAM requires of the bridge, and finds conflicts of the gateway before the pod is
 * attached. If the bridge becomes the gateway by this call, its hardware address is fixed, too, before the pod's port
 * can influence it.
 */
function prepare({ request, config, sockets }: Work, { bridge, wasMade }: FoundBridge, addresses: Result): Prepared {
  const addressing = planAddressing(addresses, config);
  if (config.vlans?.id !== undefined) return { addressing, gatewayRequests: undefined };
  const gatewayRequests = holdGateways(sockets.host, bridge, addressing.gateways, config);
  // A bridge that this call created has a fixed address already.
  if (gatewayRequests.length > 0 && !wasMade) pinMac(sockets.host, request.system, bridge);
  return { addressing, gatewayRequests };
}

interface Links {
  readonly bridge: Link;
  readonly veth: VethPair;
  readonly podLink: LinkState;
}

/**
 * Configures the pod's addresses and routes, then the host for them. Conflicts of the gateway are found before the pod
 * is changed. The gateway's address is added last, since nothing after it can fail and leave it behind. Returns the
 * gateway's device if it is not the bridge.
 */
function configure(work: Work, { bridge, veth, podLink }: Links, prepared: Prepared): Link | undefined {
  const { request, config, sockets } = work;
  const { ips, routes, gateways } = prepared.addressing;
  const gateway = config.isGateway ? ensureGateway(work, config, bridge, veth.hostName) : bridge;
  const gatewayRequests = prepared.gatewayRequests ?? holdGateways(sockets.host, gateway, gateways, config);
  const prefixes = ips.map(({ address }) => address);
  sockets.pod.run(...configureInterface(podLink.index, prefixes, podRoutes(routes, ips), config));
  if (config.detectsDuplicates) {
    waitForPort(sockets.host, request.system, veth.hostName, bridge);
    waitForDetection(sockets.pod, request.system, podLink);
  }
  if (config.ipMasq) masqueradeAttachment(request, ips, work.undo);
  if (config.isGateway) enableForwarding(request.system, ips);
  applyGateways(sockets.host, gatewayRequests);
  if (prefixes.some(({ address }) => address.family === 6) && !config.detectsDuplicates) {
    if (gatewayRequests.length > 0) waitForCompletion(sockets.host, request.system, gateway.index);
    waitForCompletion(sockets.pod, request.system, podLink.index);
  }
  return gateway === bridge ? undefined : gateway;
}

/**
 * Builds the result. `devices` are the bridge and, if it is another device, the gateway's, which the reference lists
 * last.
 */
function describe({ request }: Work, devices: readonly LinkState[], veth: VethPair, rest: Result): Result {
  const told = devices.map(({ name, mac }) => ({ name, mac }));
  return {
    interfaces: [
      ...told.slice(0, 1),
      { name: veth.hostName, mac: veth.hostMac },
      { name: request.ifName, mac: veth.podMac, sandbox: request.netnsPath },
      ...told.slice(1),
    ],
    ips: rest.ips,
    routes: rest.routes,
    dns: rest.dns,
  };
}
