/** Encodes keys and data of frontends' elements as the kernel stores them (see `pkg/nft/tuple.ts`). */
import type { Address } from "../../ip/address.ts";
import type { Bytes } from "../../nft/element-bytes.ts";
import type { Endpoint, Frontend } from "../frontend.ts";

export type { Bytes } from "../../nft/element-bytes.ts";

export function addressBytes({ family, value }: Address): Bytes {
  if (family === 4) return networkOrder(Number(value));
  const word = (shift: bigint) => networkOrder(Number((value >> shift) & 0xffff_ffffn));
  return word(96n) + word(64n) + word(32n) + word(0n);
}

/** `ip daddr . meta l4proto . th dport` */
export function rowBytes({ address, protocol, port }: Pick<Frontend, "address" | "protocol" | "port">): Bytes {
  return addressBytes(address) + protocolPort(protocol, port);
}

/** `meta l4proto . th dport` */
export function protocolPort(protocol: number, port: number): Bytes {
  return String.fromCharCode(protocol, 0, 0, 0, port >>> 8, port & 0xff, 0, 0);
}

/** Address and port: the operand of `dnat`. */
export function endpointBytes({ address, port }: Pick<Endpoint, "address" | "port">): Bytes {
  return addressBytes(address) + String.fromCharCode(port >>> 8, port & 0xff, 0, 0);
}

/** A number in host byte order, the order of register values that are not part of the packet. */
export function numberBytes(value: number): Bytes {
  return String.fromCharCode(value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24);
}

function networkOrder(value: number): Bytes {
  return String.fromCharCode(value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff);
}
