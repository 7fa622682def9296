/** Counts this node's pods in weft's network, by kind of attachment. Pure. */

import { MARK_START } from "../../pkg/footprint.ts";
import { isOfNetwork } from "../../pkg/kernel/owner.ts";
import type { KernelSnapshot } from "../../pkg/kernel/snapshot.ts";
import type { AttachSettings } from "../node/networks.ts";
import { podKinds } from "../node/pod-kinds.ts";

export interface PodCount {
  readonly count: number;
  readonly network: string;
  /** The bridge that `onBridge` pods are attached to. Null if there is none. */
  readonly bridge: string | null;
  readonly onBridge: number;
  /** The number of pods on the bridge that another program's plugins attached before a take-over. */
  readonly byOthers: number;
}

export function countPods(configured: AttachSettings, observed: KernelSnapshot): PodCount {
  const { attachment, ends } = podKinds(configured, observed);
  const { network, bridge = null } = attachment;
  const index = observed.links.find(({ name }) => name === bridge)?.index;
  const own = observed.links.filter(({ alias }) => isOfNetwork(alias, network));
  const byOthers = observed.links.filter(
    ({ kind, alias, masterIndex }) => kind === "veth" && masterIndex === index && !alias.startsWith(MARK_START),
  ).length;
  const onBridge = own.filter(({ alias }) => ends.ports.has(alias)).length + byOthers;
  return { count: own.length + byOthers, network, bridge, onBridge, byOthers };
}

/** Returns a text such as "3 on cni0 (2 of them attached by other plugins), 2 with their own links; network cbr0". */
export function podsText({ count, network, bridge, onBridge, byOthers }: PodCount): string {
  const others = byOthers === 0 ? "" : ` (${byOthers} of them attached by other plugins)`;
  const routed = count - onBridge;
  const places = [
    ...(bridge !== null && (onBridge > 0 || routed === 0) ? [`${onBridge} on ${bridge}${others}`] : []),
    ...(routed > 0 || bridge === null ? [`${routed} with their own links`] : []),
  ];
  return `${places.join(", ")}; network ${network}`;
}
