/** The names of IP protocols that NetworkPolicies and operators use. */

const NAMES: ReadonlyMap<number, string> = new Map([
  [1, "ICMP"],
  [6, "TCP"],
  [17, "UDP"],
  [58, "ICMPv6"],
  [132, "SCTP"],
]);

/** Returns the name of an IP protocol, or its number as text. */
export function ipProtocolName(protocol: number): string {
  return NAMES.get(protocol) ?? String(protocol);
}
