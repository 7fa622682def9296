/**
 * Addresses that may be neither frontends nor endpoints. Translation to or from one of them would expose services on
 * this node's loopback to other hosts, or would take over the link's own services, such as a cloud's metadata server.
 */
import { type Address, parseAddress } from "../ip/address.ts";
import { contains, IPV4_LOOPBACK, type Prefix, parsePrefix } from "../ip/prefix.ts";

/**
 * RFC 6890, RFC 5771 and RFC 4291. The addresses that the API server refuses in EndpointSlices, and all multicast
 * addresses.
 */
const SPECIAL: readonly (readonly [kind: string, prefix: Prefix])[] = [
  ["unspecified", { address: parseAddress("0.0.0.0"), length: 32 }],
  ["loopback", IPV4_LOOPBACK],
  ["link-local", parsePrefix("169.254.0.0/16")],
  ["multicast", parsePrefix("224.0.0.0/4")],
  ["broadcast", { address: parseAddress("255.255.255.255"), length: 32 }],
  ["unspecified", { address: parseAddress("::"), length: 128 }],
  ["loopback", { address: parseAddress("::1"), length: 128 }],
  ["link-local", parsePrefix("fe80::/10")],
  ["multicast", parsePrefix("ff00::/8")],
];

/** Returns "loopback", "link-local", "multicast", "unspecified" or "broadcast"; undefined for all other addresses. */
export function specialKind(address: Address): string | undefined {
  return SPECIAL.find(([, prefix]) => contains(prefix, address))?.[0];
}
