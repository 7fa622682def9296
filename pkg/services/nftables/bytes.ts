/** Encodes keys and data of frontends' elements as the kernel stores them (see `pkg/nft/tuple.ts`). */
import type { Bytes } from "../../nft/element-bytes.ts";
import { addressBytes, protocolPort } from "../../nft/key-bytes.ts";
import type { Endpoint, Frontend } from "../frontend.ts";

export type { Bytes } from "../../nft/element-bytes.ts";

/** `ip daddr . meta l4proto . th dport` */
export function rowBytes({ address, protocol, port }: Pick<Frontend, "address" | "protocol" | "port">): Bytes {
  return addressBytes(address) + protocolPort(protocol, port);
}

/** Address and port: the operand of `dnat`. */
export function endpointBytes({ address, port }: Pick<Endpoint, "address" | "port">): Bytes {
  return addressBytes(address) + String.fromCharCode(port >>> 8, port & 0xff, 0, 0);
}
