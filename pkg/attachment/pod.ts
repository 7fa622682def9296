/** Access to the pod's namespace for plugins that change an interface made by another plugin. */
import { CniError, ErrorCode } from "../cni/errors.ts";
import type { CniRequest } from "../cni/plugin.ts";
import type { Link } from "../kernel/link.ts";
import { findLink } from "../kernel/read.ts";
import { type BlockingNetlink, openRoute } from "../netlink/blocking.ts";
import { inOwnPod } from "./own-pod.ts";

/** Runs `work` with a socket in the pod's namespace. Throws `CniError` 4 if the namespace no longer exists. */
export function inPod<T>(request: CniRequest, work: (pod: BlockingNetlink) => T): T {
  const pod = openRoute(request.system, request.requireNamespace());
  try {
    return work(pod);
  } finally {
    pod.close();
  }
}

/**
 * Like `inPod`, but only one call at a time runs in a namespace. The reference plugins that take this lock are
 * included. Runtimes may attach a pod to several networks at once, and each call searches for a free table or name.
 */
export function inPodAlone<T>(request: CniRequest, work: (pod: BlockingNetlink) => T): T {
  const lock = request.system.lockFile(request.requireNamespace().path);
  try {
    return inPod(request, work);
  } finally {
    lock?.release();
  }
}

/** DEL: like `inPodAlone`, but only if the namespace is still the attachment's pod. */
export function inOwnPodAlone(request: CniRequest, work: (pod: BlockingNetlink) => void): void {
  if (request.namespace === undefined) return;
  const lock = request.system.lockFile(request.namespace.path);
  try {
    inOwnPod(request, work);
  } finally {
    lock?.release();
  }
}

/** Returns the interface that earlier plugins in the chain made. Throws `CniError` 4. */
export function requireInterface(pod: BlockingNetlink, { ifName }: CniRequest): Link {
  const link = findLink(pod, ifName);
  if (link !== undefined) return link;
  throw new CniError(
    ErrorCode.invalidEnvironment,
    `CNI_IFNAME: there is no interface ${ifName} in ${pod.where}: expected an interface made by an earlier plugin in ` +
      "the chain",
  );
}
