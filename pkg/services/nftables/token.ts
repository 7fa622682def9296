/**
 * The numbers that affinity works with: 30 bits name a Service port, 31 bits and `HIGH_BIT` an endpoint. They are hashes, so
 * that they are the same after a restart and on all frontends of a Service port.
 *
 * Two Service ports with the same id (of 1,000, one chance in 2,000) take each other's entries of clients that use both:
 * those clients are sent to endpoints drawn anew. Tokens are unique among the endpoints of a frontend.
 */
import type { Frontend } from "../frontend.ts";
import { type Bytes, endpointBytes } from "./bytes.ts";
import { HIGH_BIT } from "./parts.ts";

const ID_MASK = 0x3fff_ffff;
const TOKEN_MASK = 0x7fff_ffff;

export function affinityId(key: string): number {
  return hash(key) & ID_MASK;
}

/** The tokens of a frontend's endpoints, by `endpointBytes`. */
export function tokensOf({ endpoints, localEndpoints }: Frontend): ReadonlyMap<Bytes, number> {
  const tokens = new Map<Bytes, number>();
  const taken = new Set<number>();
  const all = new Set([...endpoints, ...localEndpoints].map(endpointBytes));
  // In an order that does not depend on how they came.
  for (const bytes of [...all].sort()) {
    let token = hash(bytes) & TOKEN_MASK;
    while (taken.has(token)) token = (token + 1) & TOKEN_MASK;
    taken.add(token);
    tokens.set(bytes, (token | HIGH_BIT) >>> 0);
  }
  return tokens;
}

/** FNV-1a of 32 bits over the characters' low bytes, mixed as MurmurHash3's last step does. */
function hash(text: string): number {
  let value = 0x811c_9dc5;
  for (let at = 0; at < text.length; at++) value = Math.imul(value ^ (text.charCodeAt(at) & 0xff), 0x0100_0193);
  value = Math.imul(value ^ (value >>> 16), 0x85eb_ca6b);
  value = Math.imul(value ^ (value >>> 13), 0xc2b2_ae35);
  return value ^ (value >>> 16);
}
