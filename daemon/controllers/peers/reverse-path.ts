/**
 * Reverse path filtering (net.ipv4.conf.*.rp_filter). If it is strict, the kernel drops packets that arrive through
 * another device than the one for replies. IPv6 has no such setting.
 */
import { readSysctl } from "../../../pkg/kernel/sysctl.ts";
import type { Files } from "../../../pkg/sys/system.ts";

/**
 * 0 is off, 1 strict, 2 loose. The larger of the values for the device and for "all" applies
 * (Documentation/networking/ip-sysctl.rst).
 */
const STRICT = 1;

/** Returns a warning with the command to run for each of `devices` that filters strictly. */
export function strictReversePaths(files: Files, devices: readonly string[]): string[] {
  const settingOf = (device: string) => Number(readSysctl(files, ["net", "ipv4", "conf", device, "rp_filter"]) ?? 0);
  const everywhere = settingOf("all");
  return devices
    .filter((device) => Math.max(everywhere, settingOf(device)) === STRICT)
    .map(
      (device) =>
        `${device} has strict reverse path filtering, which drops packets of peers that arrive another way than replies leave (plain ` +
        `or VXLAN, while a cluster changes); run: sysctl -w net.ipv4.conf.${device.replaceAll(".", "/")}.rp_filter=2`,
    );
}
