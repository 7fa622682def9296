/**
 * Carries what a mode answers into the kernel: its questions, then its transactions, one after the other. Between two
 * transactions other controllers have their turn on the socket.
 *
 * What another program has undone goes through the repair gate: object by object, or the table as a whole where so much is
 * missing that one program cannot have fought over each of it.
 */
import { SERVICES_TABLE } from "../../../pkg/footprint.ts";
import type { EventedNetlink } from "../../../pkg/netlink/evented.ts";
import type { Request } from "../../../pkg/netlink/message.ts";
import { NFPROTO } from "../../../pkg/netlink/nftables.ts";
import { tableObject } from "../../../pkg/nft/object.ts";
import { type TablePlace, tablePlaceText } from "../../../pkg/nft/ruleset.ts";
import { type Gate, repairOf } from "../../../pkg/reconcile/repair-gate.ts";
import type { Frontend, FrontendChange, NodeSettings } from "../../../pkg/services/frontend.ts";
import type { ServiceMode, Transaction } from "../../../pkg/services/mode.ts";
import type { Programmer } from "../../core/drivers/programmer.ts";
import { answeredBy } from "../../core/drivers/ruleset.ts";
import type { Logger } from "../../core/log.ts";

export const SERVICES_PLACE: TablePlace = { family: NFPROTO.inet, table: SERVICES_TABLE };

/** A repair of more requests counts as one of the table. */
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
 * - `none`: nothing of it is a repair; the desired state has changed, or weftd has just started.
 * - `objects`: all of it is, since nothing else has changed.
 * - `table`: some of it is.
 */
export type Repairs = "none" | "objects" | "table";

export class ServiceProgrammer {
  readonly #parts: ServiceProgrammerParts;

  constructor(parts: ServiceProgrammerParts) {
    this.#parts = parts;
  }

  /** Makes the kernel hold what is wanted, whatever it holds. Throws `NetlinkError`; part of it may be done then. */
  async compare(frontends: readonly Frontend[], settings: NodeSettings, repairs: Repairs): Promise<SentTransactions> {
    const { mode, nftables } = this.#parts;
    const transactions = await answeredBy(nftables, mode.compare(frontends, settings));
    const allowed = this.#allowed(transactions, repairs);
    const resting = count(transactions) - count(allowed);
    return { ...(await this.#commit(allowed)), resting };
  }

  /** After a failure only `compare` may be called. */
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
    const size = count(transactions);
    if (repairs === "none" || size === 0) return transactions;
    if (repairs === "table" || size > SINGLE_REPAIRS) {
      const name = tablePlaceText(SERVICES_PLACE);
      return gate.mayPutBack(tableObject(name), `table ${name}`) ? transactions : [];
    }
    const mayPutBack = repairOf(gate);
    const isDependedOn = ({ object }: Request) => object.kind !== "element";
    return transactions.flatMap((transaction) => {
      const allowed = transaction.filter(mayPutBack);
      // The other requests of its transaction may need a set, a chain or a rule; elements are independent.
      const isWhole = transaction.every((one) => allowed.includes(one) || !isDependedOn(one));
      return isWhole && allowed.length > 0 ? [allowed] : [];
    });
  }
}

function count(transactions: readonly Transaction[]): number {
  return transactions.reduce((sum, { length }) => sum + length, 0);
}
