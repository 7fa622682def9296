/**
 * Conditions for a mapped port of the node: the source, destination and incoming interface of a connection must be
 * within given spans. A configuration becomes a list of conditions that do not overlap, so each is one element of an
 * interval map. Pure functions.
 */
import { addressBits, type Family } from "../ip/address.ts";
import { commonSpan, type Span } from "../ip/span.ts";
import { type FieldRange, interfaceNameBytes } from "../nft/tuple.ts";

export interface PortCondition {
  readonly source: Span;
  readonly destination: Span;
  /** The node's own connections have no incoming interface: its name is empty. */
  readonly inputInterface: Span;
}

/** The length of struct ifreq's names: 16 bytes, padded with NUL. */
const NAME_BITS = 128;

export const conditionBits = (family: Family) =>
  ({ source: addressBits(family), destination: addressBits(family), inputInterface: NAME_BITS }) as const;

/** One name or, if `isStart`, all names with this prefix. Throws `RangeError` if the name is too long. */
export function nameSpan(name: string, isStart: boolean): Span {
  const first = numberOf(interfaceNameBytes(name));
  const free = BigInt(NAME_BITS - 8 * new TextEncoder().encode(name).length);
  return { first, last: isStart ? first | ((1n << free) - 1n) : first };
}

/** The condition that is true if both are. */
export function commonCondition(a: PortCondition, b: PortCondition): PortCondition | undefined {
  const source = commonSpan(a.source, b.source);
  const destination = commonSpan(a.destination, b.destination);
  const inputInterface = commonSpan(a.inputInterface, b.inputInterface);
  if (source === undefined || destination === undefined || inputInterface === undefined) return undefined;
  return { source, destination, inputInterface };
}

/** Encodes a span as a field with this number of bits in an element's key. */
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
