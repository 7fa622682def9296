/**
 * The part of /debug/state about other nodes: the desired state, the kernel's current state, and the difference in
 * words. For operators who investigate why a pod is unreachable; programs read /metrics.
 */

import type { LocalNode, Peer } from "../../../pkg/backend/node.ts";
import type { DesiredState } from "../../../pkg/backend/state.ts";
import { RTPROT_WEFT } from "../../../pkg/footprint.ts";
import { isSamePrefix } from "../../../pkg/ip/prefix.ts";
import type { KernelSnapshot } from "../../../pkg/kernel/snapshot.ts";
import { type DataPath, planDataPath } from "../../../pkg/reconcile/data-path.ts";

/** The desired state of a pass. */
export interface PassTarget {
  readonly node: LocalNode;
  readonly peers: readonly Peer[];
  readonly desired: DesiredState;
}

/** Returns the state. Without a `target` nothing has been programmed yet, and `reason` has the reason. */
export function debugState(
  target: PassTarget | undefined,
  observed: KernelSnapshot,
  reason: string,
): Record<string, unknown> {
  if (target === undefined) return { target: null, reason };
  const { node, peers, desired } = target;
  const { dataPath, entries: _entries, ...rest } = desired;
  const { requests, conflicts } = planDataPath(dataPath, observed);
  return {
    ...{ node, peers, desired: { ...rest, ...dataPath } },
    observed: ours(dataPath, node, observed),
    difference: { requests: requests.map(({ text }) => text), conflicts },
  };
}

/** Returns the part of the kernel's state that concerns other nodes. */
function ours(
  { devices: wanted, routes }: DataPath,
  { underlay }: LocalNode,
  observed: KernelSnapshot,
): KernelSnapshot {
  const names = new Set(wanted.map(({ name }) => name));
  const links = observed.links.filter(({ name, index }) => names.has(name) || index === underlay.index);
  const indexes = new Set(links.map(({ index }) => index));
  const devices = new Set(links.filter(({ name }) => names.has(name)).map(({ index }) => index));
  const isOnOurs = ({ index }: { readonly index: number }) => devices.has(index);
  return {
    links,
    addresses: observed.addresses.filter(({ index }) => indexes.has(index)),
    routes: observed.routes.filter(
      ({ protocol, destination }) =>
        protocol === RTPROT_WEFT || routes.some((route) => isSamePrefix(route.destination, destination)),
    ),
    neighbours: observed.neighbours.filter(isOnOurs),
    forwarding: observed.forwarding.filter(isOnOurs),
  };
}
