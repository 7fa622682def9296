/**
 * The contract of a mode: one way of having the kernel carry connections from frontends to endpoints. A mode is pure. It
 * answers what to ask the kernel and what to send; `daemon/controllers/services/` asks, sends, and repeats.
 */
import type { Look } from "../netlink/look.ts";
import type { Request } from "../netlink/message.ts";
import type { Frontend, FrontendChange, NodeSettings } from "./frontend.ts";

/** One nfnetlink batch: the kernel carries all of it out, or nothing. Small enough that no other user of nftables waits long. */
export type Transaction = readonly Request[];

export interface ServiceMode {
  /**
   * Compares the kernel with `frontends` and `settings`: asks (the only place that reads whole sets), and returns the
   * transactions, in order, that are needed; none where all is right already. The mode remembers what it wants from then on.
   */
  compare(frontends: Iterable<Frontend>, settings: NodeSettings): Look<readonly Transaction[]>;
  /**
   * The transactions for `changes` on top of what the last `compare` or `change` returned, whose transactions were all
   * carried out. Endpoints come before the frontends that lead to them, and go after. Costs nothing per other frontend.
   * After a transaction that failed, only `compare` may be called.
   */
  change(changes: readonly FrontendChange[]): readonly Transaction[];
  /** The transaction that removes everything of this mode. */
  removal(): Transaction;
}
