/** Hardware addresses that need not be stored. */
import { VTEP_MAC_SEED } from "../footprint.ts";
import { fnv1a64 } from "../kernel/digest.ts";

/**
 * Derives a unicast, locally administered hardware address from the names of the node and the device. It is the same
 * after a restart, after a reboot, and for a Node that was created again. In a cluster of 5,000 nodes, two nodes have
 * the same address in about one of 5 million clusters (46 bits).
 */
export function deriveMac(nodeName: string, deviceName: string): string {
  const digest = fnv1a64(`${VTEP_MAC_SEED}${deviceName}/${nodeName}`);
  const octets = [...Array(6).keys()].map((at) => Number((digest >> BigInt(8 * at)) & 0xffn));
  octets[0] = ((octets[0] as number) & 0xfc) | 0x02;
  return octets.map((octet) => octet.toString(16).padStart(2, "0")).join(":");
}
