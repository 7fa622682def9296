/**
 * br_netfilter: shows the IP rules what goes from one port of a bridge to another. Without it a pod that calls a Service
 * and is led to a pod on its own bridge gets the answer from that pod's address, which it never called.
 */
import { BRIDGE_CALLS } from "../../../pkg/footprint.ts";
import type { Family } from "../../../pkg/ip/address.ts";
import { readSysctl } from "../../../pkg/kernel/sysctl.ts";
import type { Files } from "../../../pkg/sys/system.ts";
import type { Setting } from "../../core/drivers/settings.ts";

/** The kernel's module is not there; the message says what to run. */
export class BridgeFilterError extends Error {
  constructor() {
    super(
      "the kernel module br_netfilter is not loaded: a pod does not reach a Service whose pod is on its own bridge; on the " +
        "host run modprobe br_netfilter, and write its name into a file of /etc/modules-load.d; or attach pods by ptp (--attach ptp)",
    );
    this.name = "BridgeFilterError";
  }
}

/** What pods of `families` on one bridge need. Throws `BridgeFilterError`. */
export function bridgeFilterSettings(files: Files, families: ReadonlySet<Family>): Setting[] {
  return [...families].map((family) => {
    const name = BRIDGE_CALLS[family];
    if (readSysctl(files, name) === undefined) throw new BridgeFilterError();
    return { name, value: "1" };
  });
}
