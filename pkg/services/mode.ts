/**
 * The interface of a Services mode: an implementation that makes the kernel translate connections from frontends to
 * endpoints. A mode is pure: it returns queries and requests for the kernel. `daemon/controllers/services/` sends them,
 * and retries.
 */
import type { Look } from "../netlink/look.ts";
import type { Request } from "../netlink/message.ts";
import type { Frontend, FrontendChange, NodeSettings } from "./frontend.ts";

/**
 * One nfnetlink batch, which the kernel applies atomically. It is small enough that other users of nftables do not wait
 * long.
 */
export type Transaction = readonly Request[];

export interface ServiceMode {
  /**
   * Compares the kernel with `frontends` and `settings`, and returns the necessary transactions in order; none if the
   * kernel is correct. Only this method reads entire sets. The mode remembers the desired state.
   */
  compare(frontends: Iterable<Frontend>, settings: NodeSettings): Look<readonly Transaction[]>;
  /**
   * Returns the transactions for `changes`, relative to the state after the last `compare` or `change`, whose
   * transactions must all have been committed. Endpoints are added before the frontends that lead to them, and removed
   * after them. The cost does not depend on other frontends. After a failed transaction, only `compare` may be called.
   */
  change(changes: readonly FrontendChange[]): readonly Transaction[];
  /** The transaction that removes everything of this mode. */
  removal(): Transaction;
}
