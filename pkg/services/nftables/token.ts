/**
 * The numbers of session affinity: 30 bits identify a Service port, and 31 bits below `HIGH_BIT` an endpoint. Both are
 * hashes, so they are the same after a restart and on all frontends of a Service port.
 *
 * If two Service ports have the same id (with 1,000 ports, the probability is 1 in 2,000), clients that use both
 * overwrite their own entries, and their connections go to randomly chosen endpoints. If two endpoints of a frontend
 * have the same token (with 1,000 endpoints, the probability is 1 in 2,000), clients of the second one go to the first
 * one.
 */
import type { HashOptions } from "../../nft/dynamic-statements.ts";
import { jhash } from "../../nft/jhash.ts";
import type { Bytes } from "./bytes.ts";

const ID_MASK = 0x3fff_ffff;
/** Distinguishes tokens from ids. */
const HIGH_BIT = 0x8000_0000;

/**
 * The hash with which the kernel computes the token of a packet's endpoint. The seed is arbitrary, but existing entries
 * depend on it.
 */
export const TOKEN_HASH: HashOptions = { seed: 0x7765_6674, modulus: HIGH_BIT, offset: HIGH_BIT };

/** The id of `Affinity.key`. */
export function affinityId(key: string): number {
  const bytes = new TextEncoder().encode(key);
  return jhash((at) => bytes[at] ?? 0, bytes.length, TOKEN_HASH.seed) & ID_MASK;
}

/** The token that the kernel computes for packets to the endpoint with these bytes (`endpointBytes`). */
export function endpointToken(bytes: Bytes): number {
  const hash = jhash((at) => bytes.charCodeAt(at), bytes.length, TOKEN_HASH.seed);
  // reciprocal_scale(): the upper half of the product.
  return Number((BigInt(hash) * BigInt(TOKEN_HASH.modulus)) >> 32n) + TOKEN_HASH.offset;
}
