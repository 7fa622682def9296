/**
 * Parses addresses and prefixes as Kubernetes does in Services and EndpointSlices (k8s.io/utils/net, `ParseIPSloppy`):
 * IPv4 numbers may have leading zeros and are decimal, and an IPv4-mapped IPv6 address means the IPv4 address. Objects
 * that were stored before the API server refused such text still contain it.
 */
import { type Address, AddressError, addressBits, parseAddress } from "../../ip/address.ts";
import { networkOf, type Prefix } from "../../ip/prefix.ts";

const DOTTED = /^(\d+)\.(\d+)\.(\d+)\.(\d+)$/;
const MAPPED = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i;
const LENGTH = /^\d{1,4}$/;

/** Throws `AddressError`. */
export function parseSloppyAddress(text: string): Address {
  const dotted = DOTTED.exec(MAPPED.exec(text)?.[1] ?? text);
  if (dotted === null) return parseAddress(text);
  let value = 0;
  for (const digits of dotted.slice(1)) {
    const octet = Number(digits);
    if (octet > 255) throw new AddressError(`"${text}" is not an IP address: expected four numbers from 0 to 255`);
    value = value * 256 + octet;
  }
  return { family: 4, value: BigInt(value) };
}

/** Returns the network of "address/length". Ignores surrounding white space. Throws `AddressError`. */
export function parseSloppyPrefix(text: string): Prefix {
  const [addressText = "", lengthText = "", ...rest] = text.trim().split("/");
  const address = parseSloppyAddress(addressText);
  const length = Number(lengthText);
  if (rest.length > 0 || !LENGTH.test(lengthText) || length > addressBits(address.family)) {
    throw new AddressError(`"${text}" is not a prefix: expected an address and a prefix length, such as 10.0.0.0/8`);
  }
  return networkOf({ address, length });
}
