/** How this node's pods are attached: weftd's conflist tells of new pods only, the kernel of those that run. */
import type { KernelSnapshot } from "../../pkg/kernel/snapshot.ts";
import { type PodEnds, podEnds } from "../../pkg/reconcile/pod-ends.ts";
import type { AttachSettings } from "./networks.ts";

export interface PodKinds {
  /** Its bridge is also that of pods which run and were attached before the conflist said `ptp`. */
  readonly attachment: AttachSettings;
  readonly ends: PodEnds;
}

export function podKinds(attachment: AttachSettings, observed: KernelSnapshot): PodKinds {
  const ends = podEnds(attachment.network, attachment.plugin, observed);
  const master = observed.links.find(
    ({ alias, masterIndex }) => masterIndex !== 0 && ends.ports.has(alias),
  )?.masterIndex;
  const bridge = attachment.bridge ?? observed.links.find(({ index }) => index === master)?.name;
  return { attachment: { ...attachment, bridge }, ends };
}
