/**
 * The number of connections of each frontend, as counted by the kernel: only the first packet of a connection passes
 * the sets `connectionsF`, whose elements have counters. The counts restart when the table or the frontend is
 * recreated.
 */
import { SERVICES_TABLE } from "../../footprint.ts";
import { addressFromBytes, type Family } from "../../ip/address.ts";
import { viewOf } from "../../netlink/bytes.ts";
import { eachAttribute } from "../../netlink/codec.ts";
import { dumpRequest, type Message, type Query } from "../../netlink/message.ts";
import { NFPROTO, NFT_MSG_GETSETELEM } from "../../netlink/nftables.ts";
import type { Frontend } from "../frontend.ts";

export interface ConnectionCount extends Pick<Frontend, "address" | "protocol" | "port"> {
  readonly connections: number;
}

/** Dumps the counters of a family. Fails with ENOENT if the table does not exist. */
export function connectionCountsDump(family: Family): Query {
  const set = `connections${family}`;
  const text = `nft list set inet ${SERVICES_TABLE} ${set}`;
  return dumpRequest(NFT_MSG_GETSETELEM, text, { family: NFPROTO.inet }, { table: SERVICES_TABLE, set });
}

/** struct nfgenmsg */
const HEADER = 4;
/** include/uapi/linux/netfilter/nf_tables.h */
const NFTA_SET_ELEM_LIST_ELEMENTS = 3;
const NFTA_SET_ELEM_KEY = 1;
const NFTA_SET_ELEM_EXPR = 7;
const NFTA_DATA_VALUE = 1;
const NFTA_EXPR_DATA = 2;
const NFTA_COUNTER_PACKETS = 2;

/** A field of a concatenated key is padded to words of four bytes. */
const WORD = 4;

/**
 * Parses the counts in one message of the dump. It does not use the codec, because a large cluster has tens of
 * thousands of elements that are read repeatedly.
 */
export function readConnectionCounts({ payload }: Message, family: Family): ConnectionCount[] {
  const counts: ConnectionCount[] = [];
  const addressLength = family === 4 ? 4 : 16;
  eachPart(payload.subarray(HEADER), (type, list) => {
    if (type !== NFTA_SET_ELEM_LIST_ELEMENTS) return;
    eachPart(list, (_listed, element) => {
      const key = nested(nested(element, NFTA_SET_ELEM_KEY), NFTA_DATA_VALUE);
      const packets = nested(nested(nested(element, NFTA_SET_ELEM_EXPR), NFTA_EXPR_DATA), NFTA_COUNTER_PACKETS);
      if (key?.length !== addressLength + 2 * WORD || packets?.length !== 8) return;
      const port = viewOf(key).getUint16(addressLength + WORD);
      counts.push({
        address: addressFromBytes(key.subarray(0, addressLength)),
        protocol: key[addressLength] as Frontend["protocol"],
        port,
        connections: Number(viewOf(packets).getBigUint64(0)),
      });
    });
  });
  return counts;
}

function nested(parent: Uint8Array | undefined, wanted: number): Uint8Array | undefined {
  let found: Uint8Array | undefined;
  if (parent !== undefined)
    eachPart(parent, (type, content) => {
      if (type === wanted) found = content;
    });
  return found;
}

function eachPart(parent: Uint8Array, visit: (type: number, content: Uint8Array) => void): void {
  eachAttribute(parent, (type, start, end) => visit(type, parent.subarray(start, end)));
}
