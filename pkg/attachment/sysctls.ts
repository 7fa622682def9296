/**
 * The kernel settings that a pod needs. A kernel without IPv6 has no /proc/sys/net/ipv6, and then nothing to set.
 */

import type { ResultAddress } from "../cni/result.ts";
import {
  FORWARDING,
  SETTING_ACCEPT_DAD,
  SETTING_ACCEPT_RA,
  SETTING_DISABLE_IPV6,
  SETTING_ENHANCED_DAD,
  SETTING_KEEP_ADDRESSES,
  SETTING_NDISC_NOTIFY,
} from "../footprint.ts";
import type { Detection } from "../kernel/interface.ts";
import { ensureOptionalSysctl, ensureSysctl } from "../kernel/sysctl.ts";
import type { NetworkNamespace, System } from "../sys/system.ts";

/** A pod must not steer the host's routes by router advertisements (CVE-2020-10749). */
export function refuseAdvertisements(system: System, device: string): void {
  ensureOptionalSysctl(system, ["net", "ipv6", "conf", device, SETTING_ACCEPT_RA], "0");
}

/**
 * The host's end of a cable uses its link-local address at once: while the kernel still probes it (a second or two), it has
 * no source to ask for neighbours with, and forwards nothing to the pod. Before the link has a carrier.
 */
export function skipDetection(system: System, device: string): void {
  ensureOptionalSysctl(system, ["net", "ipv6", "conf", device, SETTING_ACCEPT_DAD], "0");
}

/**
 * For IPv6 in the pod: on (a runtime may have switched it off), its addresses kept when the link goes down and, unless told
 * otherwise, usable at once (IPAM gave them to nobody else). Before the interface comes up.
 */
export function preparePod(
  system: System,
  namespace: NetworkNamespace,
  device: string,
  { detectsDuplicates = false }: Detection = {},
): void {
  const conf = ["net", "ipv6", "conf", device];
  system.inNamespace(namespace, () => {
    ensureSysctl(system, [...conf, SETTING_DISABLE_IPV6], "0");
    // Without detection it is of use for the link-local address alone: others are added as ones that need not be probed.
    if (detectsDuplicates) ensureSysctl(system, [...conf, SETTING_ACCEPT_DAD], "1");
    else ensureOptionalSysctl(system, [...conf, SETTING_ACCEPT_DAD], "0");
    // A question that comes back, as with hairpin mode, is told from somebody else's by its nonce (RFC 7527).
    if (detectsDuplicates) ensureOptionalSysctl(system, [...conf, SETTING_ENHANCED_DAD], "1");
    ensureOptionalSysctl(system, [...conf, SETTING_KEEP_ADDRESSES], "1");
  });
}

/**
 * As `preparePod`, on a network that others share: neighbours learn of a new address at once, as they do of an IPv4 one by
 * arp_notify, and how the pod probes for addresses that it gives itself is left to the kernel.
 */
export function prepareNeighbour(system: System, namespace: NetworkNamespace, device: string): void {
  const conf = ["net", "ipv6", "conf", device];
  system.inNamespace(namespace, () => {
    ensureSysctl(system, [...conf, SETTING_DISABLE_IPV6], "0");
    ensureOptionalSysctl(system, [...conf, SETTING_KEEP_ADDRESSES], "1");
    ensureOptionalSysctl(system, [...conf, SETTING_NDISC_NOTIFY], "1");
  });
}

/** The pod's neighbours hear of its IPv6 addresses when its hardware address is set, as of IPv4 ones by arp_notify. */
export function announceAdvertisements(system: System, namespace: NetworkNamespace, device: string): void {
  system.inNamespace(namespace, () => {
    ensureOptionalSysctl(system, ["net", "ipv6", "conf", device, SETTING_NDISC_NOTIFY], "1");
  });
}

/** The host forwards for the families that the pod has addresses of. */
export function enableForwarding(system: System, ips: readonly ResultAddress[]): void {
  const has = (family: 4 | 6) => ips.some(({ address }) => address.address.family === family);
  if (has(4)) ensureSysctl(system, FORWARDING[4], "1");
  if (has(6)) ensureSysctl(system, FORWARDING[6], "1");
}
