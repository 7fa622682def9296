/**
 * Requests that empty other programs' tables in small steps. Emptying a table at once would block other users of
 * nftables.
 */
import { decode, dumpRequest, type Message, type Query, type Request, request } from "../netlink/message.ts";
import { NFT_MSG_DELRULE, NFT_MSG_DELSETELEM, NFT_MSG_GETSET, NFT_MSG_NEWSET } from "../netlink/nftables.ts";
import { chainObject, setObject } from "./object.ts";
import { type ChainPlace, placeText, type TablePlace, tablePlaceText } from "./ruleset.ts";

/** Removes all rules of a chain. Fails with ENOENT if the chain does not exist. */
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

/** Removes all elements of a set or map (Linux 4.10). Fails with ENOENT if the set does not exist. */
export function flushSet(place: TablePlace, set: string): Request {
  const { family, table } = place;
  const name = tablePlaceText(place);
  return request(NFT_MSG_DELSETELEM, setObject(name, set), `nft flush set ${name} ${set}`, { family }, { table, set });
}

/** Dumps a table's sets and maps, without elements. Fails with ENOENT if the table does not exist. */
export function setNamesDump(place: TablePlace): Query {
  const { family, table } = place;
  return dumpRequest(NFT_MSG_GETSET, `nft list sets table ${tablePlaceText(place)}`, { family }, { table });
}

/** The names of a table's named sets. Anonymous sets are excluded: the kernel removes them with their rule. */
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
