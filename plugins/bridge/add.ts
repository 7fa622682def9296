/**
 * ADD: addresses are reserved first, so that what cannot be served (an exhausted range, a bad configuration) never
 * touches a device; dhcp alone needs the interface before it can ask. Then bridge, cable, the pod's side, the gateway.
 */
import { ipamType, reserveAddresses } from "../../pkg/attachment/ipam.ts";
import { assertNameIsFree, randomMac, removeLink } from "../../pkg/attachment/links.ts";
import { addMasquerade, removeMasquerade } from "../../pkg/attachment/masquerade.ts";
import { ownerOf } from "../../pkg/attachment/owner.ts";
import { podRoutes } from "../../pkg/attachment/routes.ts";
import { enableForwarding, preparePod, refuseAdvertisements } from "../../pkg/attachment/sysctls.ts";
import type { Request } from "../../pkg/cni/plugin.ts";
import { decodeDns, EMPTY_RESULT, type Result } from "../../pkg/cni/result.ts";
import { type Undo, undoing } from "../../pkg/cni/undo.ts";
import { configureInterface } from "../../pkg/kernel/interface.ts";
import { changeLink, getLink, type Link, linkDump, parseLink } from "../../pkg/kernel/link.ts";
import { readAddresses } from "../../pkg/kernel/read.ts";
import { openRoute } from "../../pkg/netlink/blocking.ts";
import type { NetworkNamespace } from "../../pkg/sys/system.ts";
import { type Addressing, planAddressing } from "./addressing.ts";
import { type Cable, plugCable, type Sides, waitForPort } from "./attach.ts";
import { type BridgeConfig, parseBridgeConfig } from "./config.ts";
import { applyGateways, ensureBridge, planGateways } from "./device.ts";

export function add(request: Request): Result {
  const config = parseBridgeConfig(request.config, request.args);
  const dns = decodeDns(request.config.object("dns"));
  const namespace = request.requireNamespace();
  const host = openRoute(request.system);
  const pod = openRoute(request.system, namespace);
  try {
    const result = undoing((undo) => attach({ request, config, namespace, sides: { host, pod }, undo }));
    return Object.keys(dns).length > 0 ? { ...result, dns } : result;
  } finally {
    pod.close();
    host.close();
  }
}

interface Work {
  readonly request: Request;
  readonly config: BridgeConfig;
  readonly namespace: NetworkNamespace;
  readonly sides: Sides;
  readonly undo: Undo;
}

function attach(work: Work): Result {
  const { request, config, sides, undo } = work;
  const ipam = ipamType(request.config);
  const isDhcp = ipam === "dhcp";
  assertNameIsFree(sides.pod, request.ifName);
  let addresses = ipam === undefined || isDhcp ? undefined : reserveAddresses(request, ipam, undo);
  const bridge = makeBridge(work);
  const cable = makeCable(work, bridge);
  const podIndex = bringUp(work, addresses);
  if (ipam !== undefined && isDhcp) addresses = reserveAddresses(request, ipam, undo);
  const addressing = addresses === undefined ? undefined : planAddressing(addresses, config);
  if (addressing !== undefined) configure(work, bridge, podIndex, addressing);
  waitForPort(sides.host, request.system, cable.hostName, bridge);
  return describe(work, bridge, cable, addresses ?? EMPTY_RESULT, addressing);
}

function makeBridge({ request, config, sides, undo }: Work): Link {
  const { bridge, wasMade } = ensureBridge(sides.host, config, randomMac(request.system));
  if (wasMade) {
    undo.push(() => {
      // Another ADD may have plugged its pod in meanwhile.
      const isUsed = sides.host.dump(linkDump()).some((message) => parseLink(message).masterIndex === bridge.index);
      if (!isUsed) removeLink(sides.host, bridge.index);
    });
    refuseAdvertisements(request.system, bridge.name);
  }
  return bridge;
}

function makeCable({ request, config, namespace, sides, undo }: Work, bridge: Link): Cable {
  const owner = ownerOf(request);
  const cable = plugCable(sides, request.system, { bridge, config, namespace, ifName: request.ifName, owner });
  undo.push(() => removeLink(sides.host, cable.hostName));
  refuseAdvertisements(request.system, cable.hostName);
  return cable;
}

/** The pod's end, up; its index within the pod. */
function bringUp({ request, namespace, sides }: Work, addresses: Result | undefined): number {
  const { ifName, system } = request;
  if (addresses?.ips.some(({ address }) => address.address.family === 6) === true)
    preparePod(system, namespace, ifName);
  const [message] = sides.pod.run(changeLink(ifName, { up: true, arpNotify: true }), getLink(ifName));
  if (message === undefined) throw new Error(`no answer to "ip link show ${ifName}" in ${sides.pod.where}`);
  return parseLink(message).index;
}

/**
 * Addresses and routes of the pod, then what they need on the host. The gateway's conflicts are looked for before the
 * pod is touched, and its address is added last: nothing after it can fail and leave it behind.
 */
function configure(work: Work, bridge: Link, podIndex: number, addressing: Addressing): void {
  const { request, config, sides } = work;
  const { ips, routes, gateways } = addressing;
  const held = gateways.length === 0 ? [] : readAddresses(sides.host, bridge.index);
  const gatewayRequests = planGateways(bridge, held, gateways, config.forceAddress);
  sides.pod.run(
    ...configureInterface(
      podIndex,
      ips.map(({ address }) => address),
      podRoutes(routes, ips),
    ),
  );
  if (config.ipMasq) masquerade(work, addressing);
  if (config.isGateway) enableForwarding(request.system, ips);
  applyGateways(sides.host, gatewayRequests);
}

function masquerade({ request, undo }: Work, { ips }: Addressing): void {
  const owner = ownerOf(request);
  undo.push(() => removeMasquerade(request.system, (mark) => mark === owner));
  addMasquerade(request.system, owner, ips);
}

function describe(work: Work, bridge: Link, cable: Cable, ipam: Result, addressing: Addressing | undefined): Result {
  const { request } = work;
  return {
    interfaces: [
      { name: bridge.name, mac: bridge.mac },
      { name: cable.hostName, mac: cable.hostMac },
      { name: request.ifName, mac: cable.podMac, sandbox: request.netnsPath },
    ],
    ips: addressing?.ips ?? [],
    routes: addressing?.routes ?? [],
    dns: ipam.dns,
  };
}
