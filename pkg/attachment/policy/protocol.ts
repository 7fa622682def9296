/**
 * The protocol between the plugin that attaches a pod and weftd, on a Unix stream socket that only root may open
 * (`POLICY_SOCKET_FILE` in the run directory). Each message is one line of JSON. The plugin sends one request; weftd
 * answers with `waiting` at once if it must wait, and then with `installed` or `failed`, and closes the connection.
 */

/** Sent before the interface can send a packet: the host's end of the veth pair is still down. */
export interface AttachRequest {
  readonly version: 1;
  /** "namespace/name" and UID of the pod (K8S_POD_NAMESPACE, K8S_POD_NAME, K8S_POD_UID of CNI_ARGS). */
  readonly pod: string;
  /**
   * For a static pod, kubelet gives the annotation `kubernetes.io/config.hash` of its mirror pod instead. Empty if the
   * runtime passes only namespace and name.
   */
  readonly uid: string;
  readonly containerId: string;
  readonly ifName: string;
  /** Without prefix lengths. */
  readonly addresses: readonly string[];
}

export type AttachReply =
  | { readonly is: "waiting" }
  /** The pod's isolation is in the kernel. False: no policy concerns the pod. */
  | { readonly is: "installed"; readonly isIsolated: boolean }
  /** The plugin reports the reason with CNI error code 11 (try again later). */
  | { readonly is: "failed"; readonly reason: string };

/** The key `networkPolicy` in the configuration of `bridge` and `ptp`, which weftd writes into its conflist. */
export interface NetworkPolicyKey {
  /** The path of the socket. */
  readonly socket: string;
  /**
   * What ADD does if weftd cannot be reached or does not answer within a second: `closed` fails with code 11, `open`
   * attaches the pod without its policies.
   */
  readonly fail: "closed" | "open";
}

/** The longest time without any answer, in milliseconds. */
export const SILENCE_LIMIT_MS = 1000;

/** The longest time from `waiting` to the next reply, in milliseconds: weftd waits for 2 s at most. */
export const WAITING_LIMIT_MS = 3000;
