/**
 * Reverse path filtering (net.ipv4.conf.*.rp_filter): set to strict, the kernel drops what comes in by another device
 * than the answer would leave by. IPv6 has no such setting.
 */
import { readSysctl } from "../../../pkg/kernel/sysctl.ts";
import type { Files } from "../../../pkg/sys/system.ts";

/** 0 is off, 1 strict, 2 loose; the larger of the device's and "all"'s counts (Documentation/networking/ip-sysctl.rst). */
const STRICT = 1;

/** A sentence for each of `devices` that filters strictly, with what to run. */
export function strictReversePaths(files: Files, devices: readonly string[]): string[] {
  const settingOf = (device: string) => Number(readSysctl(files, ["net", "ipv4", "conf", device, "rp_filter"]) ?? 0);
  const everywhere = settingOf("all");
  return devices
    .filter((device) => Math.max(everywhere, settingOf(device)) === STRICT)
    .map(
      (device) =>
        `${device} filters by reverse path strictly: packets of peers that send another way than they are sent to (plain ` +
        `or VXLAN, while a cluster changes) are dropped; run: sysctl -w net.ipv4.conf.${device.replaceAll(".", "/")}.rp_filter=2`,
    );
}
