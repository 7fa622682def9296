/** NFT_MSG_NEWTABLE and NFT_MSG_DELTABLE (nf_tables_newtable, nf_tables_deltable). */
import { decode, type Message, NLM_F_EXCL, NLM_F_REPLACE } from "../../netlink/message.ts";
import { NFPROTO, NFPROTO_UNSPEC, NFT_MSG_DELTABLE, NFT_MSG_NEWTABLE } from "../../netlink/nftables.ts";
import { assertMayChange, type Draft } from "./draft.ts";
import { checkName, checkUserdata, existing, Refusal, required } from "./refusal.ts";
import { type TableState, tableKey } from "./state.ts";

/** NFT_TABLE_F_DORMANT, NFT_TABLE_F_OWNER, NFT_TABLE_F_PERSIST */
export const TABLE_FLAG = { dormant: 1, owner: 2, persist: 4 } as const;
const TABLE_FLAGS = TABLE_FLAG.dormant | TABLE_FLAG.owner | TABLE_FLAG.persist;

/** The families that weft uses, NFPROTO_ARP and NFPROTO_NETDEV. */
const FAMILIES: ReadonlySet<number> = new Set([...Object.values(NFPROTO), 3, 5]);
/** NLM_F_NONREC: refuse to delete a non-empty object. */
export const NLM_F_NONREC = NLM_F_REPLACE;

/** Returns the created or changed table; undefined if the table is already as requested. */
export function newTable(draft: Draft, message: Message): TableState | undefined {
  const { header, attributes } = decode(NFT_MSG_NEWTABLE, message);
  if (!FAMILIES.has(header.family)) throw new Refusal("EOPNOTSUPP");
  const name = required(checkName(attributes.name));
  const userdata = checkUserdata(attributes.userdata);
  const held = draft.find(header.family, name);
  if (held !== undefined) {
    if ((message.flags & NLM_F_EXCL) !== 0) throw new Refusal("EEXIST");
    if ((message.flags & NLM_F_REPLACE) !== 0) throw new Refusal("EOPNOTSUPP");
    return changeTable(draft, held, attributes.flags ?? held.flags);
  }
  const { flags = 0 } = attributes;
  if ((flags & ~TABLE_FLAGS) !== 0) throw new Refusal("EOPNOTSUPP");
  const isOwned = (flags & TABLE_FLAG.owner) !== 0;
  const table: TableState = {
    ...{ family: header.family, name, flags, userdata, owner: isOwned ? draft.port : undefined },
    ...{ handle: draft.nextTableHandle(), handles: { last: 0n }, chains: new Map(), sets: new Map() },
  };
  draft.tables.set(tableKey(header.family, name), table);
  draft.isChanged = true;
  return table;
}

/** Changes the flags. The dormant flag may change; the owner flags may not. */
function changeTable(draft: Draft, table: TableState, flags: number): TableState | undefined {
  if ((flags & ~TABLE_FLAGS) !== 0) throw new Refusal("EOPNOTSUPP");
  if (flags === table.flags) return undefined;
  if (((flags ^ table.flags) & ~TABLE_FLAG.dormant) !== 0) throw new Refusal("EOPNOTSUPP");
  if (draft.rehooked.has(table) || draft.toggled.has(table)) throw new Refusal("EINVAL");
  draft.toggled.add(table);
  table.flags = flags;
  draft.isChanged = true;
  return table;
}

/** Deletes tables. Without a name and a handle, deletes all tables of the family, or of all families. */
export function deleteTables(draft: Draft, message: Message): void {
  const { header, attributes } = decode(NFT_MSG_DELTABLE, message);
  const { name, handle } = attributes;
  if (header.family === NFPROTO_UNSPEC || (name === undefined && handle === undefined)) {
    for (const table of [...draft.tables.values()]) {
      const isMeant = header.family === NFPROTO_UNSPEC || header.family === table.family;
      const isOthers = table.owner !== undefined && table.owner !== draft.port;
      if (isMeant && !isOthers && (name === undefined || name === table.name)) remove(draft, table);
    }
    return;
  }
  const table = handle === undefined ? draft.table(header.family, name) : tableByHandle(draft, header.family, handle);
  const isEmpty = table.chains.size + table.sets.size === 0;
  if ((message.flags & NLM_F_NONREC) !== 0 && !isEmpty) throw new Refusal("EBUSY");
  remove(draft, table);
}

function tableByHandle(draft: Draft, family: number, handle: bigint): TableState {
  const held = [...draft.tables.values()].find((table) => table.handle === handle && table.family === family);
  const table = existing(held);
  assertMayChange(table, draft.port);
  return table;
}

function remove(draft: Draft, table: TableState): void {
  draft.tables.delete(tableKey(table.family, table.name));
  draft.unvalidated.delete(table);
  draft.isChanged = true;
}
