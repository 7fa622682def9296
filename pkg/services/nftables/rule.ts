/** The key of the maps of frontends. */
import type { Family } from "../../ip/address.ts";
import { address, destinationPort, transportProtocol } from "../../nft/selector.ts";

export const row = (family: Family) => [address("daddr", family), transportProtocol, destinationPort];
