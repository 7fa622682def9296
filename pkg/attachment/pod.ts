/** The pod's side of the kernel, for plugins that change an interface which another plugin has made. */
import { CniError, ErrorCode } from "../cni/errors.ts";
import type { CniRequest } from "../cni/plugin.ts";
import type { Link } from "../kernel/link.ts";
import { findLink } from "../kernel/read.ts";
import { type BlockingNetlink, openRoute } from "../netlink/blocking.ts";
import { inOwnPod } from "./own-pod.ts";

/** Runs `work` with a socket of the pod's namespace. Throws `CniError` 4 where that is gone. */
export function inPod<T>(request: CniRequest, work: (pod: BlockingNetlink) => T): T {
  const pod = openRoute(request.system, request.requireNamespace());
  try {
    return work(pod);
  } finally {
    pod.close();
  }
}

/**
 * The same, one at a time in a namespace, the reference's plugins that do so included: runtimes attach a pod to several
 * networks at once, and each looks for what is free.
 */
export function inPodAlone<T>(request: CniRequest, work: (pod: BlockingNetlink) => T): T {
  const lock = request.system.lockFile(request.requireNamespace().path);
  try {
    return inPod(request, work);
  } finally {
    lock?.release();
  }
}

/** DEL: the same, where the namespace still is the attachment's pod. */
export function inOwnPodAlone(request: CniRequest, work: (pod: BlockingNetlink) => void): void {
  if (request.namespace === undefined) return;
  const lock = request.system.lockFile(request.namespace.path);
  try {
    inOwnPod(request, work);
  } finally {
    lock?.release();
  }
}

/** The interface that the plugins before in the chain have made. Throws `CniError` 4. */
export function requireInterface(pod: BlockingNetlink, { ifName }: CniRequest): Link {
  const link = findLink(pod, ifName);
  if (link !== undefined) return link;
  throw new CniError(
    ErrorCode.invalidEnvironment,
    `CNI_IFNAME: there is no interface ${ifName} in ${pod.where}: expected one that a plugin before in the chain has made`,
  );
}
