/** The kernel settings that a pod needs. A kernel without IPv6 has no /proc/sys/net/ipv6; nothing is then set. */

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

/** Prevents a pod from changing the host's routes by router advertisements (CVE-2020-10749). */
export function refuseAdvertisements(system: System, device: string): void {
  ensureOptionalSysctl(system, ["net", "ipv6", "conf", device, SETTING_ACCEPT_RA], "0");
}

/**
 * Makes the link-local address of the host's veth end usable at once. While the kernel probes the address (one or two
 * seconds), it has no source address for neighbour solicitations and forwards nothing to the pod. Must be called before
 * the link has a carrier.
 */
export function skipDetection(system: System, device: string): void {
  ensureOptionalSysctl(system, ["net", "ipv6", "conf", device, SETTING_ACCEPT_DAD], "0");
}

/**
 * Prepares IPv6 in the pod, before the interface comes up. Enables it (a runtime may have disabled it), keeps addresses
 * when the link goes down and, unless `detectsDuplicates` is set, makes addresses usable at once: the IPAM plugin gave
 * them to no other pod.
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
    // Without detection this setting affects only the link-local address. Other addresses are added with a flag that
    // skips detection.
    if (detectsDuplicates) ensureSysctl(system, [...conf, SETTING_ACCEPT_DAD], "1");
    else ensureOptionalSysctl(system, [...conf, SETTING_ACCEPT_DAD], "0");
    // With hairpin mode the pod's own probe comes back. The nonce (RFC 7527) distinguishes it from another host's
    // probe.
    if (detectsDuplicates) ensureOptionalSysctl(system, [...conf, SETTING_ENHANCED_DAD], "1");
    ensureOptionalSysctl(system, [...conf, SETTING_KEEP_ADDRESSES], "1");
  });
}

/**
 * Like `preparePod`, for a network shared with other hosts. Neighbours learn of a new address at once, as they learn of
 * an IPv4 address by arp_notify. How the pod probes addresses that it configures itself is left to the kernel.
 */
export function prepareNeighbour(system: System, namespace: NetworkNamespace, device: string): void {
  const conf = ["net", "ipv6", "conf", device];
  system.inNamespace(namespace, () => {
    ensureSysctl(system, [...conf, SETTING_DISABLE_IPV6], "0");
    ensureOptionalSysctl(system, [...conf, SETTING_KEEP_ADDRESSES], "1");
    ensureOptionalSysctl(system, [...conf, SETTING_NDISC_NOTIFY], "1");
  });
}

/**
 * Announces the pod's IPv6 addresses to its neighbours when its hardware address is set, as arp_notify does for IPv4.
 */
export function announceAdvertisements(system: System, namespace: NetworkNamespace, device: string): void {
  system.inNamespace(namespace, () => {
    ensureOptionalSysctl(system, ["net", "ipv6", "conf", device, SETTING_NDISC_NOTIFY], "1");
  });
}

/** Enables forwarding on the host for the families of the pod's addresses. */
export function enableForwarding(system: System, ips: readonly ResultAddress[]): void {
  const has = (family: 4 | 6) => ips.some(({ address }) => address.address.family === family);
  if (has(4)) ensureSysctl(system, FORWARDING[4], "1");
  if (has(6)) ensureSysctl(system, FORWARDING[6], "1");
}
