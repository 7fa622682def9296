/**
 * The attachments of this node's pods whose statuses have no addresses yet: kubelet reports an address seconds after ADD.
 * They come from the runtime's cached results.
 */
import { CachedAttachments } from "../../../pkg/attachment/cached-attachments.ts";
import type { Pod } from "../../../pkg/cluster/policy/pod.ts";
import type { Files } from "../../../pkg/sys/system.ts";
import type { PolicySource } from "../../sources/policy-source.ts";
import type { AttachedPod } from "./pod-installer.ts";

export interface RunningPodsParts {
  readonly nodeName: string;
  readonly pods: Pick<PolicySource["pods"], "list">;
  readonly files: Pick<Files, "readDirectory" | "readFile" | "status">;
}

export class RunningPods {
  readonly #parts: RunningPodsParts;

  constructor(parts: RunningPodsParts) {
    this.#parts = parts;
  }

  /** Throws `SystemError`. */
  attachments(): readonly AttachedPod[] {
    const { pods, nodeName, files } = this.#parts;
    const isUnreported = (pod: Pod) =>
      pod.nodeName === nodeName && !pod.isHostNetwork && !pod.hasEnded && pod.addresses.length === 0;
    const keys = new Set(
      pods
        .list()
        .filter(({ value }) => isUnreported(value))
        .map(({ key }) => key),
    );
    if (keys.size === 0) return [];
    return [...new CachedAttachments(files).read().values()].flatMap(({ pod, containerId, plugins, result }) => {
      // Pods may have interfaces of other networks, whose addresses are not the pod's in the API.
      const isOfPods = plugins.some((plugin) => plugin.has("networkPolicy"));
      if (pod === undefined || !isOfPods || !keys.has(pod.key)) return [];
      const addresses = result.ips.map(({ address }) => address.address);
      return [{ ...pod, containerId, addresses }];
    });
  }
}
