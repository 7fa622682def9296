/**
 * Carries out a mode's results: its queries, then its transactions, one after the other. Between two transactions other
 * controllers can use the socket.
 *
 * Repairs of what another program has undone go through the repair gate. For elements, the gate is consulted one by
 * one. If chains, sets or rules are affected, or very many elements, it is consulted for the table as a whole, because
 * these requests depend on each other and must not be held back separately.
 */
import { SERVICES_TABLE } from "../../../pkg/footprint.ts";
import type { EventedNetlink } from "../../../pkg/netlink/evented.ts";
import type { Request } from "../../../pkg/netlink/message.ts";
import { NFPROTO, NFT_MSG_NEWSETELEM } from "../../../pkg/netlink/nftables.ts";
import { tableObject } from "../../../pkg/nft/object.ts";
import { type TablePlace, tablePlaceText } from "../../../pkg/nft/ruleset.ts";
import { type Gate, repairOf } from "../../../pkg/reconcile/repair-gate.ts";
import type { Frontend, FrontendChange, NodeSettings } from "../../../pkg/services/frontend.ts";
import type { ServiceMode, Transaction } from "../../../pkg/services/mode.ts";
import type { Programmer } from "../../core/drivers/programmer.ts";
import { answeredBy } from "../../core/drivers/ruleset.ts";
import type { Logger } from "../../core/log.ts";

export const SERVICES_PLACE: TablePlace = { family: NFPROTO.inet, table: SERVICES_TABLE };
const TABLE = tablePlaceText(SERVICES_PLACE);
const TABLE_TEXT = `table ${TABLE}`;

/** A repair with more requests counts as one of the table. */
const SINGLE_REPAIRS = 200;

export interface ServiceProgrammerParts {
  readonly mode: ServiceMode;
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

export class ServiceProgrammer {
  readonly #parts: ServiceProgrammerParts;

  constructor(parts: ServiceProgrammerParts) {
    this.#parts = parts;
  }

  /**
   * Programs the desired state, regardless of the kernel's state. Throws `NetlinkError`; a part may be programmed then.
   */
  async compare(frontends: readonly Frontend[], settings: NodeSettings, repairs: Repairs): Promise<SentTransactions> {
    const { mode, nftables } = this.#parts;
    const transactions = await answeredBy(nftables, mode.compare(frontends, settings));
    const allowed = this.#allowed(transactions, repairs);
    const resting = count(transactions) - count(allowed);
    return { ...(await this.#commit(allowed)), resting };
  }

  /** Sends changes. After a failure only `compare` may be called. */
  change(changes: readonly FrontendChange[]): Promise<SentTransactions> {
    return this.#commit(this.#parts.mode.change(changes));
  }

  async #commit(transactions: readonly Transaction[]): Promise<SentTransactions> {
    const { programmer, log } = this.#parts;
    for (const transaction of transactions) {
      if (log.isLevelEnabled("debug"))
        log.debug({ requests: transaction.map(({ text }) => text) }, "Services: committing");
      await programmer.commit(transaction);
    }
    return { transactions: transactions.length, requests: count(transactions), resting: 0 };
  }

  #allowed(transactions: readonly Transaction[], repairs: Repairs): readonly Transaction[] {
    const { gate } = this.#parts;
    const first = transactions.flat().find(({ object }) => object.kind !== "element");
    if (repairs === "none" || transactions.length === 0) return transactions;
    if (repairs === "table" || first !== undefined || count(transactions) > SINGLE_REPAIRS) {
      const text =
        first === undefined || first.object.kind === "table" ? TABLE_TEXT : () => `${TABLE_TEXT}: ${first.text}`;
      return gate.mayPutBack(tableObject(TABLE), text) ? transactions : [];
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
