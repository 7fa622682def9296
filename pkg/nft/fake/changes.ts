/** The messages of a transaction, and their effects. */
import type { Message } from "../../netlink/message.ts";
import {
  NFT_MSG_DELCHAIN,
  NFT_MSG_DELRULE,
  NFT_MSG_DELSET,
  NFT_MSG_DELSETELEM,
  NFT_MSG_DELTABLE,
  NFT_MSG_NEWCHAIN,
  NFT_MSG_NEWRULE,
  NFT_MSG_NEWSET,
  NFT_MSG_NEWSETELEM,
  NFT_MSG_NEWTABLE,
} from "../../netlink/nftables.ts";
import { deleteChain, newChain } from "./chains.ts";
import type { Draft } from "./draft.ts";
import { tellChain, tellElements, tellRule, tellSet, tellTable } from "./dumps.ts";
import { deleteElements, newElements } from "./elements.ts";
import { deleteRules, newRule } from "./rules.ts";
import { deleteSet, newSet } from "./sets.ts";
import { deleteTables, newTable } from "./tables.ts";
import type { Told } from "./told.ts";

/** Makes the messages that describe created or changed objects: announcements, and the answers to NLM_F_ECHO. */
export type Echo = () => Told[];

/** Changes the draft. Throws `Refusal`, or `CodecError` for attributes with a wrong length. */
type Change = (draft: Draft, message: Message) => Echo;

const NO_ECHO: Echo = () => [];
const silently =
  (change: (draft: Draft, message: Message) => void): Change =>
  (draft, message) => {
    change(draft, message);
    return NO_ECHO;
  };

/** The changes by message type. */
export const CHANGES: Readonly<Record<number, Change>> = {
  [NFT_MSG_NEWTABLE.type]: (draft, message) => {
    const table = newTable(draft, message);
    return () => (table === undefined ? [] : [tellTable(table)]);
  },
  [NFT_MSG_DELTABLE.type]: silently(deleteTables),
  [NFT_MSG_NEWCHAIN.type]: (draft, message) => {
    const { table, chain } = newChain(draft, message);
    return () => [tellChain(table, chain)];
  },
  [NFT_MSG_DELCHAIN.type]: silently(deleteChain),
  [NFT_MSG_NEWRULE.type]: (draft, message) => {
    const { table, chain, rule } = newRule(draft, message);
    return () => [tellRule(table, chain, rule)];
  },
  [NFT_MSG_DELRULE.type]: silently(deleteRules),
  [NFT_MSG_NEWSET.type]: (draft, message) => {
    const { table, set } = newSet(draft, message);
    return () => [tellSet(table, set)];
  },
  [NFT_MSG_DELSET.type]: silently(deleteSet),
  [NFT_MSG_NEWSETELEM.type]: (draft, message) => {
    const { table, set, added } = newElements(draft, message);
    return () => added.map((element) => tellElements(table, set, [element]));
  },
  [NFT_MSG_DELSETELEM.type]: silently(deleteElements),
};
