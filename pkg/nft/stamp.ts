/**
 * The stamp of a table: evidence that this version of weft made all chains, rules and sets of a table, and that no
 * program has changed one of them since. It takes two requests in one datagram, and its cost does not depend on the
 * number of elements. So an executable may add, look up and delete single elements without a comparison of the table.
 *
 * The stamp is a field of the table's user data. The kernel stores it when the table is created and never changes it
 * (nf_tables_updtable in net/netfilter/nf_tables_api.c), so a table without a stamp must be created again to get one.
 *
 * The kernel numbers chains, sets and rules of a table in the order of their creation, and never uses a number (the
 * handle) twice. A rule cannot change: a replacement gets another handle. `createTable` creates sets, chains and rules
 * in this order, so the rules of an unchanged table have consecutive handles that begin after the number of its sets and
 * chains. A set or chain that a rule uses cannot be deleted. The table's use count shows other sets and chains.
 *
 * Not detected, unlike by a comparison (`hasSameShape`): another policy of a base chain, and a set that no rule uses and
 * that a program has deleted and created again. Missing elements are the caller's concern.
 */
import type { BlockingNetlink } from "../netlink/blocking.ts";
import { isNetlinkError } from "../netlink/errors.ts";
import { decode, dumpRequest, type Message, type Query, query } from "../netlink/message.ts";
import {
  NFT_MSG_GETRULE,
  NFT_MSG_GETTABLE,
  NFT_MSG_NEWRULE,
  NFT_MSG_NEWRULE_OUTLINE,
  NFT_MSG_NEWTABLE,
} from "../netlink/nftables.ts";
import { type Table, tableHeader, tableText } from "./table.ts";
import { readStamp } from "./userdata.ts";

/** The length of struct nfgenmsg, and the attribute with a rule's handle (8 bytes in network byte order). */
const NFGENMSG_LENGTH = 4;
const NFTA_RULE_HANDLE = 3;

/** The result of `readStamped`. */
export interface Stamped {
  /** False if the kernel has no such table. */
  readonly exists: boolean;
  /** The parts in the table's stamp; undefined if the table has another layout or no stamp, or was changed. */
  readonly parts: readonly number[] | undefined;
  /** The answers to the questions; an object that does not exist (ENOENT) gives no message. */
  readonly answers: readonly Message[];
}

/**
 * Reads the stamp of the kernel's table, and in the same datagram the answers to `questions`, such as
 * `elementRequest`. Throws `NetlinkError` if the kernel refuses a request for another reason than ENOENT.
 */
export function readStamped(netfilter: BlockingNetlink, table: Table, questions: readonly Query[] = []): Stamped {
  const check = new StampCheck(table);
  const replies = netfilter.exchange(
    [...questions, ...stampQuestions(table)],
    // A commit of another program marks the dump as interrupted. The handles show whether it concerned this table.
    (message) => !check.see(message),
  );
  for (const { error } of replies) if (error !== undefined && !isNetlinkError(error, "ENOENT")) throw error;
  return {
    exists: check.exists,
    parts: check.parts,
    answers: replies.flatMap(({ messages }) => messages),
  };
}

/** The requests about the stamp itself; they can be the last ones of a datagram. The kernel answers ENOENT if there is no table. */
export function stampQuestions(table: Table): Query[] {
  const header = tableHeader(table);
  const name = tableText(table);
  return [
    query(NFT_MSG_GETTABLE, `nft list table ${name} (without contents)`, header, { name: table.name }),
    dumpRequest(NFT_MSG_GETRULE, `nft list table ${name}`, header, { table: table.name }),
  ];
}

/** Returns the `parts` of `Stamped`, from the answers to `stampQuestions` or `tableQuestions`. */
export function stampedParts(table: Table, seen: readonly Message[]): readonly number[] | undefined {
  const check = new StampCheck(table);
  const isOther = (message: Message) =>
    message.type === NFT_MSG_NEWRULE.type && decode(NFT_MSG_NEWRULE_OUTLINE, message).attributes.table !== table.name;
  for (const message of seen) if (!isOther(message)) check.see(message);
  return check.parts;
}

/** Looks at the messages of a table and its rules, in the order of a dump. */
class StampCheck {
  exists = false;
  readonly #table: Table;
  readonly #family: number;
  #stamp: { readonly objects: number; readonly rules: number; readonly parts: readonly number[] } | undefined;
  /** The handle of the first rule, and the number of rules so far. */
  #first = 0;
  #rules = 0;
  #isConsecutive = true;

  constructor(table: Table) {
    this.#table = table;
    this.#family = tableHeader(table).family;
  }

  /** Returns false for messages of other objects. */
  see(message: Message): boolean {
    if (message.type === NFT_MSG_NEWTABLE.type) {
      const { header, attributes } = decode(NFT_MSG_NEWTABLE, message);
      if (header.family !== this.#family || attributes.name !== this.#table.name) return false;
      this.exists = true;
      const stamp = readStamp(attributes.userdata);
      const isAlike = stamp?.layout === this.#table.stamp?.layout && stamp?.objects === attributes.use;
      this.#stamp = isAlike && attributes.flags === 0 ? stamp : undefined;
      return true;
    }
    if (message.type !== NFT_MSG_NEWRULE.type || message.payload[0] !== this.#family) return false;
    const handle = ruleHandle(message.payload);
    if (this.#rules === 0) this.#first = handle;
    this.#isConsecutive &&= handle === this.#first + this.#rules;
    this.#rules += 1;
    return true;
  }

  get parts(): readonly number[] | undefined {
    const stamp = this.#stamp;
    if (stamp === undefined || !this.#isConsecutive) return undefined;
    return stamp.rules === this.#rules && this.#first === stamp.objects + 1 ? stamp.parts : undefined;
  }
}

/** Returns the lower 32 bits of a rule's handle; parses nothing else, because rules are long. */
function ruleHandle(payload: Uint8Array): number {
  const byteAt = (at: number) => payload[at] ?? 0;
  let at = NFGENMSG_LENGTH;
  while (at < payload.length && byteAt(at + 2) !== NFTA_RULE_HANDLE) {
    at += Math.max(4, (byteAt(at) + (byteAt(at + 1) << 8) + 3) & ~3);
  }
  return (byteAt(at + 8) << 24) | (byteAt(at + 9) << 16) | (byteAt(at + 10) << 8) | byteAt(at + 11);
}
