/** Requests that empty tables of others piece by piece, where all at once would keep other users of nftables waiting. */
import { decode, dumpRequest, type Message, type Query, type Request, request } from "../netlink/message.ts";
import { NFT_MSG_DELRULE, NFT_MSG_DELSETELEM, NFT_MSG_GETSET, NFT_MSG_NEWSET } from "../netlink/nftables.ts";
import { chainObject, setObject } from "./object.ts";
import { type ChainPlace, placeText, type TablePlace, tablePlaceText } from "./ruleset.ts";

/** Takes all rules out of a chain; ENOENT where there is no such chain. */
export function flushChain(place: ChainPlace): Request {
  const { family, table, chain } = place;
  return request(
    NFT_MSG_DELRULE,
    chainObject(tablePlaceText(place), chain),
    `nft flush chain ${placeText(place)}`,
    { family },
    { table, chain },
  );
}

/** Takes all elements out of a set or map (Linux 4.10); ENOENT where there is no such set. */
export function flushSet(place: TablePlace, set: string): Request {
  const { family, table } = place;
  const name = tablePlaceText(place);
  return request(NFT_MSG_DELSETELEM, setObject(name, set), `nft flush set ${name} ${set}`, { family }, { table, set });
}

/** A dump of a table's sets and maps, without elements; ENOENT where there is no such table. */
export function setNamesDump(place: TablePlace): Query {
  const { family, table } = place;
  return dumpRequest(NFT_MSG_GETSET, `nft list sets table ${tablePlaceText(place)}`, { family }, { table });
}

/** The names of those sets of a table that can be named in rules: anonymous ones go with theirs. */
export function readSetNames(seen: readonly Message[], { family, table }: TablePlace): string[] {
  return seen
    .filter(({ type }) => type === NFT_MSG_NEWSET.type)
    .map((message) => decode(NFT_MSG_NEWSET, message))
    .filter(({ header, attributes }) => header.family === family && attributes.table === table)
    .flatMap(({ attributes: { name, flags = 0 } }) =>
      name === undefined || (flags & NFT_SET_ANONYMOUS) !== 0 ? [] : [name],
    );
}

/** include/uapi/linux/netfilter/nf_tables.h */
const NFT_SET_ANONYMOUS = 0x1;
