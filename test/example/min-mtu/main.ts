/** `min-mtu`: a chained plugin that rejects a pod whose interface has a smaller MTU than the network promises. */
import { CniError, ErrorCode } from "weft/pkg/cni/errors.ts";
import type { CniRequest, Plugin } from "weft/pkg/cni/plugin.ts";
import { findLink } from "weft/pkg/kernel/read.ts";
import { openRoute } from "weft/pkg/netlink/blocking.ts";

export const plugin: Plugin = {
  name: "min-mtu",
  about: "refuses a pod whose interface has a smaller MTU than wanted",
  add(request) {
    const result = request.requirePrevResult();
    assertMtu(request);
    return result;
  },
  check: assertMtu,
  del() {},
};

function assertMtu(request: CniRequest): void {
  const wanted = request.config.requiredInteger("minMtu", { min: 68, max: 65_535 });
  const pod = openRoute(request.system, request.requireNamespace());
  try {
    const mtu = findLink(pod, request.ifName)?.mtu;
    if (mtu !== undefined && mtu >= wanted) return;
    const found = mtu === undefined ? "is missing" : `has an MTU of ${mtu}`;
    throw new CniError(
      ErrorCode.invalidConfig,
      `${request.ifName} in ${pod.where} ${found}: expected at least ${wanted}`,
    );
  } finally {
    pod.close();
  }
}
