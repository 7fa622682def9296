/** The interface by which the socket's server (`attach-server.ts`) uses the controller of policies. */
import type { Address } from "../../../pkg/ip/address.ts";

export interface AttachedPod {
  /** "namespace/name" */
  readonly key: string;
  /**
   * The pod's UID; for a static pod the annotation `kubernetes.io/config.hash` of its mirror pod. Empty if the runtime
   * passes none: `key` alone then names the pod.
   */
  readonly uid: string;
  readonly containerId: string;
  readonly addresses: readonly Address[];
}

export interface PodInstaller {
  /** True if the stores have the pod with this UID, or if no policy exists in the cluster, so that none is needed. */
  knows(pod: AttachedPod): boolean;
  /** Resolves when the watch has brought the pod; rejects if `signal` aborts. */
  awaitPod(pod: AttachedPod, signal: AbortSignal): Promise<void>;
  /** Reads the pod from the API server, for a watch that is late. Rejects with the reason. */
  readPod(pod: AttachedPod, signal: AbortSignal): Promise<void>;
  /**
   * Programs the isolation of a known pod at these addresses, and its identity as a peer of this node's pods. Resolves
   * when the kernel has both. Rejects with the kernel's refusal.
   */
  install(pod: AttachedPod): Promise<{ readonly isIsolated: boolean }>;
}
