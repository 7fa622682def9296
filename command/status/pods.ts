/** How many pods this node has in weft's network, and what ties them to it. Pure. */

import { MARK_START } from "../../pkg/footprint.ts";
import { isOfNetwork } from "../../pkg/kernel/owner.ts";
import type { KernelSnapshot } from "../../pkg/kernel/snapshot.ts";
import type { AttachSettings } from "../node/networks.ts";
import { podKinds } from "../node/pod-kinds.ts";

export interface PodCount {
  readonly count: number;
  readonly network: string;
  /** Where `onBridge` of them hang; null where there is none. */
  readonly bridge: string | null;
  readonly onBridge: number;
  /** Of those on the bridge, the ones that no plugin of weft's attached: they were there before a take-over. */
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

/** "5: 3 on cni0 (2 of them attached by other plugins), 2 on links of their own; network cbr0" */
export function podsText({ count, network, bridge, onBridge, byOthers }: PodCount): string {
  const others = byOthers === 0 ? "" : ` (${byOthers} of them attached by other plugins)`;
  const routed = count - onBridge;
  const places = [
    ...(bridge !== null && (onBridge > 0 || routed === 0) ? [`${onBridge} on ${bridge}${others}`] : []),
    ...(routed > 0 || bridge === null ? [`${routed} on links of their own`] : []),
  ];
  return `${places.join(", ")}; network ${network}`;
}
