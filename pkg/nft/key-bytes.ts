/** Encodes addresses and numbers as the kernel stores them in keys and data of elements (see `tuple.ts`). */
import type { Address } from "../ip/address.ts";
import type { Bytes } from "./element-bytes.ts";

export function addressBytes({ family, value }: Address): Bytes {
  if (family === 4) return networkOrder(Number(value));
  const word = (shift: bigint) => networkOrder(Number((value >> shift) & 0xffff_ffffn));
  return word(96n) + word(64n) + word(32n) + word(0n);
}

/** A number in host byte order, the order of register values that are not part of the packet. */
export function numberBytes(value: number): Bytes {
  return String.fromCharCode(value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24);
}

/** `meta l4proto . th dport`: each field of a key takes entire registers of four bytes. */
export function protocolPort(protocol: number, port: number): Bytes {
  return String.fromCharCode(protocol, 0, 0, 0, port >>> 8, port & 0xff, 0, 0);
}

function networkOrder(value: number): Bytes {
  return String.fromCharCode(value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff);
}
