/**
 * br_netfilter passes packets between two ports of a bridge through the IP rules. Without it, if a pod calls a Service
 * and the chosen endpoint is on the same bridge, the reply arrives from the endpoint's address, which the pod never
 * called, and NetworkPolicies do not judge packets between pods on the same bridge.
 */
import { BRIDGE_CALLS } from "../../../pkg/footprint.ts";
import type { Family } from "../../../pkg/ip/address.ts";
import { readSysctl } from "../../../pkg/kernel/sysctl.ts";
import type { Files } from "../../../pkg/sys/system.ts";
import type { Setting } from "../../core/drivers/settings.ts";

/** The kernel module is not loaded. The message names the commands to run. */
export class BridgeFilterError extends Error {
  constructor() {
    super(
      "the kernel module br_netfilter is not loaded: a pod cannot reach a Service whose endpoint is on the same bridge, and " +
        "NetworkPolicies do not apply between pods on the same bridge; on the host run modprobe br_netfilter, and write its " +
        "name into a file of /etc/modules-load.d; or attach pods by ptp (--attach ptp)",
    );
    this.name = "BridgeFilterError";
  }
}

/** Returns the settings that pods of `families` on one bridge need. Throws `BridgeFilterError`. */
export function bridgeFilterSettings(files: Files, families: ReadonlySet<Family>): Setting[] {
  return [...families].map((family) => {
    const name = BRIDGE_CALLS[family];
    if (readSysctl(files, name) === undefined) throw new BridgeFilterError();
    return { name, value: "1" };
  });
}
