/**
 * What /debug/state answers: what the kernel should hold, what it holds of that at this moment, and the difference, in
 * words. For whoever wonders why a pod is not reached; programs read /metrics.
 */

import type { LocalNode, Peer } from "../../../pkg/backend/node.ts";
import type { DesiredState } from "../../../pkg/backend/state.ts";
import { RTPROT_WEFT } from "../../../pkg/footprint.ts";
import { type Address, formatAddress } from "../../../pkg/ip/address.ts";
import { formatPrefix, isSamePrefix, type Prefix } from "../../../pkg/ip/prefix.ts";
import type { KernelSnapshot } from "../../../pkg/kernel/snapshot.ts";
import { type DataPath, planDataPath } from "../../../pkg/reconcile/data-path.ts";

/** What a pass has worked towards. */
export interface Aim {
  readonly node: LocalNode;
  readonly peers: readonly Peer[];
  readonly desired: DesiredState;
}

/** JSON. Without an `aim` nothing has been programmed yet, and `reason` says why. */
export function formatDebugState(aim: Aim | undefined, observed: KernelSnapshot, reason: string): string {
  if (aim === undefined) return toJson({ aim: null, reason });
  const { node, peers, desired } = aim;
  const { dataPath, ...rest } = desired;
  const { requests, conflicts } = planDataPath(dataPath, observed);
  return toJson({
    ...{ node, peers, desired: { ...rest, ...dataPath } },
    observed: ours(dataPath, node, observed),
    difference: { requests: requests.map(({ text }) => text), conflicts },
  });
}

/** Of what the kernel holds, what concerns the way to other nodes. */
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

/** Addresses and prefixes as text; bytes in hexadecimal. */
function toJson(value: unknown): string {
  return `${JSON.stringify(value, (_key, part: unknown) => readable(part), 2)}\n`;
}

function readable(value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value).toString("hex");
  if (value instanceof Map) return Object.fromEntries(value);
  if (typeof value === "bigint") return String(value);
  if (typeof value !== "object" || value === null) return value;
  if ("family" in value && "value" in value) return formatAddress(value as Address);
  if ("address" in value && "length" in value && Object.keys(value).length === 2) return formatPrefix(value as Prefix);
  return value;
}
