/**
 * Commits the transactions for a table that weftd changes by single elements, one after the other. Between two
 * transactions other controllers can use the socket.
 *
 * Repairs of what another program has undone go through the repair gate. For elements, the gate is consulted one by
 * one. If chains, sets or rules are affected, or very many elements, it is consulted for the table as a whole, because
 * these requests depend on each other and must not be held back separately.
 */
import type { EventedNetlink } from "../../../pkg/netlink/evented.ts";
import type { Look } from "../../../pkg/netlink/look.ts";
import type { Request } from "../../../pkg/netlink/message.ts";
import { NFT_MSG_NEWSETELEM } from "../../../pkg/netlink/nftables.ts";
import { tableObject } from "../../../pkg/nft/object.ts";
import { type TablePlace, tablePlaceText } from "../../../pkg/nft/ruleset.ts";
import { type Gate, repairOf } from "../../../pkg/reconcile/repair-gate.ts";
import type { Logger } from "../log.ts";
import type { Programmer } from "./programmer.ts";
import { answeredBy } from "./ruleset.ts";

/** A repair with more requests counts as one of the table. */
const SINGLE_REPAIRS = 200;

/** One nfnetlink batch, which the kernel applies atomically. */
type Transaction = readonly Request[];

export interface TableProgrammerParts {
  readonly place: TablePlace;
  /** The purpose of the table, for log messages: "Services". */
  readonly purpose: string;
  readonly nftables: Pick<EventedNetlink, "dump" | "exchange">;
  readonly programmer: Pick<Programmer, "commit">;
  readonly gate: Gate;
  readonly log: Pick<Logger, "debug" | "isLevelEnabled">;
}

export interface SentTransactions {
  readonly transactions: number;
  readonly requests: number;
  /** Requests that the gate holds back. */
  readonly resting: number;
}

/**
 * The part of a comparison's transactions that counts as repairs:
 * - `none`: nothing; the desired state has changed, or weftd has just started.
 * - `objects`: everything, since nothing else has changed.
 * - `table`: a part of it; the gate is consulted for the table as a whole.
 */
export type Repairs = "none" | "objects" | "table";

export class TableProgrammer {
  readonly #parts: TableProgrammerParts;

  constructor(parts: TableProgrammerParts) {
    this.#parts = parts;
  }

  /** Answers the queries of `look`, and commits its transactions as far as the gate allows them. Throws `NetlinkError`. */
  async compare(look: Look<readonly Transaction[]>, repairs: Repairs): Promise<SentTransactions> {
    const transactions = await this.read(look);
    const allowed = this.#allowed(transactions, repairs);
    const resting = count(transactions) - count(allowed);
    return { ...(await this.commit(allowed)), resting };
  }

  read<T>(look: Look<T>): Promise<T> {
    return answeredBy(this.#parts.nftables, look);
  }

  async commit(transactions: readonly Transaction[]): Promise<SentTransactions> {
    const { programmer, purpose, log } = this.#parts;
    for (const transaction of transactions) {
      if (log.isLevelEnabled("debug"))
        log.debug({ requests: transaction.map(({ text }) => text) }, `${purpose}: committing`);
      await programmer.commit(transaction);
    }
    return { transactions: transactions.length, requests: count(transactions), resting: 0 };
  }

  #allowed(transactions: readonly Transaction[], repairs: Repairs): readonly Transaction[] {
    const { gate, place } = this.#parts;
    const table = tablePlaceText(place);
    const first = transactions.flat().find(({ object }) => object.kind !== "element");
    if (repairs === "none" || transactions.length === 0) return transactions;
    if (repairs === "table" || first !== undefined || count(transactions) > SINGLE_REPAIRS) {
      const text =
        first === undefined || first.object.kind === "table" ? `table ${table}` : () => `table ${table}: ${first.text}`;
      return gate.mayPutBack(tableObject(table), text) ? transactions : [];
    }
    const mayPutBack = repairOf(gate);
    return transactions.map((one) => allowedOf(one, mayPutBack)).filter(({ length }) => length > 0);
  }
}

/** Returns the allowed requests. Additions are independent of each other; removals make space for additions. */
function allowedOf(transaction: Transaction, mayPutBack: (request: Request) => boolean): Transaction {
  if (transaction.every(({ type }) => type === NFT_MSG_NEWSETELEM.type)) return transaction.filter(mayPutBack);
  const [first] = transaction;
  return first !== undefined && mayPutBack(first) ? transaction : [];
}

function count(transactions: readonly Transaction[]): number {
  return transactions.reduce((sum, { length }) => sum + length, 0);
}
