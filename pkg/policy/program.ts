/**
 * The interface of the part that makes a kernel enforce the tables of `state.ts`. It is pure: it returns queries and
 * requests for the kernel. `daemon/controllers/policy/` sends them, and retries.
 */
import type { Look } from "../netlink/look.ts";
import type { Request } from "../netlink/message.ts";
import type { PolicyChange } from "./state.ts";
import type { PolicyTables } from "./tables.ts";

/** One nfnetlink batch, which the kernel applies atomically, and which is small enough not to hold up others. */
export type Transaction = readonly Request[];

export interface PolicySettings {
  /** True if no packet is dropped: denied packets are counted and logged (`--network-policy=audit`). */
  readonly isAudit: boolean;
  /** False if the kernel lacks nfnetlink_log: then no denied packets are logged. */
  readonly hasLog: boolean;
}

/** Packets that a profile has counted since its chains exist. */
export interface ProfileCounts {
  readonly number: number;
  /** Denied packets. In audit mode: packets that would be denied. */
  readonly denied: number;
  /**
   * First packets of connections that matched a step: for each distinct tier of the profile's decisions, in any order,
   * its steps in order. Port classes with equal decisions share their counters.
   */
  readonly steps: readonly {
    readonly policies: readonly string[];
    readonly verdict: string;
    readonly packets: number;
  }[];
}

export interface PolicyProgram {
  /**
   * Compares the kernel with `tables` and `settings`, and returns the necessary transactions in order; none if the
   * kernel is correct. Only this method reads entire sets. The program remembers the desired state.
   */
  compare(tables: PolicyTables, settings: PolicySettings): Look<readonly Transaction[]>;
  /**
   * Returns the transactions for `changes`, relative to the state after the last `compare` or `change`, whose
   * transactions must all have been committed. After a failed transaction, only `compare` may be called.
   */
  change(changes: readonly PolicyChange[]): readonly Transaction[];
  /** Reads the counters of all profiles. */
  counts(): Look<readonly ProfileCounts[]>;
  /** The transaction that removes everything. */
  removal(): Transaction;
}

/** The prefix of a denied packet's log entry names the profile: "weft deny 12345". */
export const LOG_PREFIX = "weft deny ";
