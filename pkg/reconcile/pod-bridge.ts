/**
 * Plans the bridge of this node's pods. The executables create it and attach pods one by one. weftd repairs what other
 * programs remove from it while pods use it. Pure functions.
 */

import { isSamePrefix, networkOf, type Prefix } from "../ip/prefix.ts";
import { addAddress } from "../kernel/address.ts";
import { changeLink, createBridge, deleteLink, type Link } from "../kernel/link.ts";
import { addRoute } from "../kernel/route.ts";
import type { KernelSnapshot } from "../kernel/snapshot.ts";
import type { Request } from "../netlink/message.ts";
import { RT_SCOPE, RT_TABLE_MAIN, RTPROT_KERNEL } from "../netlink/route.ts";
import type { Plan } from "./data-path.ts";
import { planFormerGateways, type RetainedGateways } from "./former-gateways.ts";
import { CONNECTED_METRIC6, single } from "./routed-pods.ts";

export interface PodBridge {
  readonly name: string;
  /** The owner marks of the pods' links that are its ports. */
  readonly ports: ReadonlySet<string>;
  /** The gateway's address in each of this node's subnets, with the subnet's length. */
  readonly gateways: readonly Prefix[];
  /** The hardware address that pods have learned for the gateway. */
  readonly mac: string;
  /** The MTU of a new bridge, in bytes. */
  readonly mtu: number;
  /** Frames may leave through the port that they arrived on. */
  readonly hairpin: boolean;
  /**
   * The node's former subnets. Undefined if the running pods are not known: nothing about former subnets is then
   * changed.
   */
  readonly former?: RetainedGateways | undefined;
}

const NO_FORMER: RetainedGateways = { gateways: [], hosts: [] };

/**
 * Plans repairs of the bridge. Repairs nothing while the network has no pod: the bridge is created with the first pod,
 * and may be removed with the last. Removes state of former subnets that is no longer needed.
 */
export function planPodBridge(wanted: PodBridge, observed: KernelSnapshot): Plan {
  const ports = observed.links.filter(({ kind, alias }) => kind === "veth" && wanted.ports.has(alias));
  const bridge = observed.links.find(({ name }) => name === wanted.name);
  if (ports.length === 0)
    return bridge?.kind === "bridge" ? { ...planFormer(wanted, bridge, observed), conflicts: [] } : complete([]);
  if (bridge === undefined) return incomplete([createBridge(wanted)]);
  if (bridge.kind !== "bridge") {
    const kind = bridge.kind || "a physical device";
    const conflict = `the device ${wanted.name} is not a bridge (kind: ${kind}), so pods cannot be attached to it; remove it`;
    return { requests: [], isComplete: true, conflicts: [conflict] };
  }
  // The kernel changes addresses and routes when the bridge comes up, so observe again first.
  if (!bridge.isUp || bridge.mac !== wanted.mac) return incomplete([changeLink(bridge, { up: true, mac: wanted.mac })]);
  const former = planFormer(wanted, bridge, observed);
  if (!former.isComplete) return incomplete(former.requests);
  return complete([
    ...former.requests,
    ...ports.flatMap((port) => planPort(wanted, bridge, port)),
    // Perhaps before the ADD that creates the bridge does: that ADD accepts an address that already exists.
    ...wanted.gateways.flatMap((gateway) => planGateway(bridge, gateway, observed)),
    ...(wanted.former ?? NO_FORMER).gateways
      .filter(({ held }) => held === "subnet")
      .flatMap(({ gateway }) => planGateway(bridge, gateway, observed)),
  ]);
}

/**
 * Plans the removal of a bridge that no pod uses and no new pod will use. It is the pods' bridge if its addresses are
 * exactly among `gateways`; another program's address or a port of any kind keeps it. If it stays, removes its state of
 * former subnets.
 */
export function planLeftBridge(left: PodBridge, observed: KernelSnapshot): Plan {
  const bridge = observed.links.find(({ name, kind }) => name === left.name && kind === "bridge");
  if (bridge === undefined) return complete([]);
  // Unused gateways of former subnets also count as the bridge's own addresses, with the subnet's length or as single
  // ones.
  const former = left.former?.gateways.filter(({ held }) => held === "none").map(({ gateway }) => gateway) ?? [];
  const gateways = [...left.gateways, ...former.flatMap((gateway) => [gateway, single(gateway.address)])];
  if (leftBridge({ name: left.name, gateways }, observed) !== undefined) return complete([deleteLink(bridge)]);
  return { ...planFormer(left, bridge, observed), conflicts: [] };
}

/** The bridge that `planLeftBridge` removes. */
export function leftBridge(
  { name, gateways }: Pick<PodBridge, "name" | "gateways">,
  { links, addresses }: KernelSnapshot,
): Link | undefined {
  const bridge = links.find((link) => link.name === name && link.kind === "bridge");
  if (bridge === undefined || links.some(({ masterIndex }) => masterIndex === bridge.index)) return undefined;
  // The addresses identify the bridge: a mark would cost a message in the ADD that creates it.
  const held = addresses.filter(({ index, scope }) => index === bridge.index && scope === RT_SCOPE.universe);
  const isGateway = (prefix: Prefix) => gateways.some((gateway) => isSamePrefix(gateway, prefix));
  return held.length > 0 && held.every(({ prefix }) => isGateway(prefix)) ? bridge : undefined;
}

function planFormer({ former, gateways }: PodBridge, bridge: Link, observed: KernelSnapshot) {
  if (former === undefined) return { requests: [], isComplete: true };
  return planFormerGateways(former, gateways, bridge, observed);
}

const complete = (requests: readonly Request[]): Plan => ({ requests, isComplete: true, conflicts: [] });
const incomplete = (requests: readonly Request[]): Plan => ({ requests, isComplete: false, conflicts: [] });

/** Plans a port. A link accepts port settings only after it has become a port. */
function planPort({ hairpin }: PodBridge, bridge: Link, link: Link): Request[] {
  const { isUp, masterIndex, port } = link;
  const isPlugged = masterIndex === bridge.index;
  const isHairpin = isPlugged && port?.isHairpin === true;
  return [
    ...(isPlugged && isUp ? [] : [changeLink(link, { masterIndex: bridge.index, up: true })]),
    ...(!hairpin || isHairpin ? [] : [changeLink(link, { port: { hairpin } })]),
  ];
}

/**
 * Plans the address, and the subnet's route that the kernel added for it: another program may have removed only the
 * route.
 */
function planGateway({ index }: Link, gateway: Prefix, { addresses, routes }: KernelSnapshot): Request[] {
  const isHeld = addresses.some((held) => held.index === index && isSamePrefix(held.prefix, gateway));
  if (!isHeld) return [addAddress({ index, prefix: gateway, skipDetection: true })];
  const destination = networkOf(gateway);
  const isConnected = routes.some(
    (route) =>
      route.table === RT_TABLE_MAIN &&
      route.outputIndex === index &&
      route.gateway === undefined &&
      isSamePrefix(route.destination, destination),
  );
  if (isConnected) return [];
  const { family } = gateway.address;
  const connected = { destination, outputIndex: index, protocol: RTPROT_KERNEL };
  return [
    addRoute(
      family === 4 ? { ...connected, preferredSource: gateway.address } : { ...connected, priority: CONNECTED_METRIC6 },
    ),
  ];
}
