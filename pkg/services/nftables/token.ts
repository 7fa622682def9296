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

/** JHASH_INITVAL */
const INITIAL = 0xdead_beef;

/** jhash() of include/linux/jhash.h: Bob Jenkins' lookup3, with words in host byte order. */
export function jhash(byteAt: (at: number) => number, length: number, seed: number): number {
  const word = (at: number, end: number) => {
    let value = 0;
    for (let byte = 0; byte < 4 && at + byte < end; byte++) value |= byteAt(at + byte) << (8 * byte);
    return value;
  };
  let a = (INITIAL + length + seed) | 0;
  let [b, c] = [a, a];
  let at = 0;
  for (; length - at > 12; at += 12) {
    a = (a + word(at, length)) | 0;
    b = (b + word(at + 4, length)) | 0;
    c = (c + word(at + 8, length)) | 0;
    // __jhash_mix
    a = (a - c) ^ rotate(c, 4);
    c = (c + b) | 0;
    b = (b - a) ^ rotate(a, 6);
    a = (a + c) | 0;
    c = (c - b) ^ rotate(b, 8);
    b = (b + a) | 0;
    a = (a - c) ^ rotate(c, 16);
    c = (c + b) | 0;
    b = (b - a) ^ rotate(a, 19);
    a = (a + c) | 0;
    c = (c - b) ^ rotate(b, 4);
    b = (b + a) | 0;
  }
  if (at === length) return c >>> 0;
  a = (a + word(at, length)) | 0;
  b = (b + word(at + 4, length)) | 0;
  c = (c + word(at + 8, length)) | 0;
  // __jhash_final
  c = (c ^ b) - rotate(b, 14);
  a = (a ^ c) - rotate(c, 11);
  b = (b ^ a) - rotate(a, 25);
  c = (c ^ b) - rotate(b, 16);
  a = (a ^ c) - rotate(c, 4);
  b = (b ^ a) - rotate(a, 14);
  c = (c ^ b) - rotate(b, 24);
  return c >>> 0;
}

function rotate(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits));
}
