/**
 * Finds how this node's pods are attached. weftd's conflist applies to new pods only; the kernel's links show running
 * pods.
 */
import type { KernelSnapshot } from "../../pkg/kernel/snapshot.ts";
import { type PodEnds, podEnds } from "../../pkg/reconcile/pod-ends.ts";
import type { AttachSettings } from "./networks.ts";

export interface PodKinds {
  /** The bridge is set even if the conflist says `ptp`, as long as running pods are attached to one. */
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
