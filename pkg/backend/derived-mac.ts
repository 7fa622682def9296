/** Hardware addresses that nobody has to store. */
import { VTEP_MAC_SEED } from "../footprint.ts";
import { fnv1a64 } from "../kernel/digest.ts";

/**
 * A unicast, locally administered hardware address that follows from the node's name and the device's: the same after a
 * restart, a reboot, and for a Node that was created again, without anything being stored. Of 5,000 nodes two get the
 * same one once in some 5 million clusters (46 bits).
 */
export function deriveMac(nodeName: string, deviceName: string): string {
  const digest = fnv1a64(`${VTEP_MAC_SEED}${deviceName}/${nodeName}`);
  const octets = [...Array(6).keys()].map((at) => Number((digest >> BigInt(8 * at)) & 0xffn));
  octets[0] = ((octets[0] as number) & 0xfc) | 0x02;
  return octets.map((octet) => octet.toString(16).padStart(2, "0")).join(":");
}
