/**
 * Which connections a port of the node is mapped for: those whose source, destination and incoming interface are all within
 * given spans. What a configuration says in words becomes a list of such conditions of which no two overlap, so each is
 * one element of an interval map. Pure.
 */
import { addressBits, type Family } from "../ip/address.ts";
import { commonSpan, type Span } from "../ip/span.ts";
import { type FieldRange, interfaceNameBytes } from "../nft/tuple.ts";

export interface PortCondition {
  readonly source: Span;
  readonly destination: Span;
  /** The node's own connections come in by no interface: its name is empty. */
  readonly inputInterface: Span;
}

/** struct ifreq's names: 16 bytes, filled up with NUL. */
const NAME_BITS = 128;

export const conditionBits = (family: Family) =>
  ({ source: addressBits(family), destination: addressBits(family), inputInterface: NAME_BITS }) as const;

/** One name, or all that begin with `name`. Throws `RangeError` for one too long. */
export function nameSpan(name: string, isStart: boolean): Span {
  const first = numberOf(interfaceNameBytes(name));
  const free = BigInt(NAME_BITS - 8 * new TextEncoder().encode(name).length);
  return { first, last: isStart ? first | ((1n << free) - 1n) : first };
}

/** Connections that meet both. */
export function commonCondition(a: PortCondition, b: PortCondition): PortCondition | undefined {
  const source = commonSpan(a.source, b.source);
  const destination = commonSpan(a.destination, b.destination);
  const inputInterface = commonSpan(a.inputInterface, b.inputInterface);
  if (source === undefined || destination === undefined || inputInterface === undefined) return undefined;
  return { source, destination, inputInterface };
}

/** As a field of so many bits of an element's key. */
export function spanField({ first, last }: Span, bits: number): FieldRange {
  return { from: bytesOf(first, bits), to: bytesOf(last, bits) };
}

export function fieldSpan({ from, to }: FieldRange): Span {
  return { first: numberOf(from), last: numberOf(to) };
}

function numberOf(bytes: Uint8Array): bigint {
  return bytes.reduce((number, byte) => (number << 8n) | BigInt(byte), 0n);
}

function bytesOf(number: bigint, bits: number): Uint8Array {
  return Uint8Array.from({ length: bits / 8 }, (_, at) => Number((number >> BigInt(bits - 8 * (at + 1))) & 0xffn));
}
