/**
 * Maintains the node's nftables: the desired rules in our own table and in other programs' forward chains, restored
 * whenever another program has changed something. Runs apart from the passes, since other programs commit all the time
 * and the dump of our own table is cheap. Checking other programs' chains costs as much as they contain, so our table
 * does not wait for it: it is checked first, and each check has its own pause.
 */
import { isDeepStrictEqual } from "node:util";
import type { Clock } from "../../../pkg/cluster/clock.ts";
import { formatPrefix, type Prefix } from "../../../pkg/ip/prefix.ts";
import { identityText, type Request } from "../../../pkg/netlink/message.ts";
import { NFT_MSG_DELRULE } from "../../../pkg/netlink/nftables.ts";
import { tableObject } from "../../../pkg/nft/object.ts";
import type { Table } from "../../../pkg/nft/table.ts";
import { tableText } from "../../../pkg/nft/table.ts";
import type { Gate } from "../../../pkg/reconcile/repair-gate.ts";
import { Attempts } from "../../core/attempts.ts";
import type { Programmer } from "../../core/drivers/programmer.ts";

/** A reload is many transactions, so a restore waits for them. */
const DELAY_MS = 10;
/** Checks without changes use at most one part in this many of a processor, however often other programs commit. */
const SHARE = 10;
/**
 * The longest pause after a check of our own table. A check that took more than a tenth of it has waited for another
 * dump (of all chains, at the start or after announcements were lost), and does not predict the duration of the next
 * one.
 */
const LONGEST_TABLE_PAUSE_MS = 250;

export interface FirewallOptions {
  readonly clock: Pick<Clock, "nowMs">;
  readonly programmer: Pick<Programmer, "replaceTable" | "commit" | "acceptForwarded">;
  readonly gate: Gate;
  /**
   * Called after each check with the chains that block pods' packets and that weftd cannot change; with none if all is
   * well.
   */
  readonly onBlocked: (reasons: readonly string[]) => void;
}

export interface DesiredFirewall {
  readonly table: Table;
  /** Pods' ranges, whose traffic other programs' chains must accept. */
  readonly ranges: readonly Prefix[];
}

/** A table with changed elements, and the requests for them. */
export interface TableChange {
  readonly table: Table;
  readonly requests: readonly Request[];
}

export class Firewall {
  readonly #options: FirewallOptions;
  #wanted: DesiredFirewall | undefined;
  /** Identities of rules that were added to other programs' chains and not removed since. */
  readonly #accepted = new Set<string>();
  #tableIdleUntilMs = 0;
  #forwardIdleUntilMs = 0;
  /** True if another program's change arrived during the pause. */
  #isForwardDue = false;
  /** True if a repair in another program's chain is waiting for its back-off. */
  #isHeldBack = false;
  /** Serialises checks and changes: two at the same time would both add what both find missing. */
  #tail: Promise<unknown> = Promise.resolve();

  constructor(options: FirewallOptions) {
    this.#options = options;
  }

  /** Sets the desired state and programs it. Returns the changes in words. */
  keep(wanted: DesiredFirewall): Promise<readonly string[]> {
    const before = this.#wanted?.table;
    this.#wanted = wanted;
    return this.#inTurn(() =>
      this.#apply(wanted, () => before !== undefined && isDeepStrictEqual(before, wanted.table)),
    );
  }

  /**
   * Changes elements of the desired table, and commits the requests for them without reading the kernel's table. Throws
   * `NetlinkError`; then the desired table is as before.
   */
  change(changeOf: (table: Table) => TableChange): Promise<readonly Request[]> {
    return this.#inTurn(async () => {
      if (this.#wanted === undefined) return [];
      const { table, requests } = changeOf(this.#wanted.table);
      if (requests.length > 0) await this.#options.programmer.commit(requests);
      this.#wanted = { ...this.#wanted, table };
      return requests;
    });
  }

  /**
   * Restores the state of the last `keep`. Returns what was missing, in words. Other programs' chains are postponed by
   * `forwardDueInMs`. Throws if a repair must wait.
   */
  restore(): Promise<readonly string[]> {
    return this.#inTurn(async () => {
      const { clock, gate } = this.#options;
      if (this.#wanted === undefined) return [];
      const { table, ranges } = this.#wanted;
      const attempts = new Attempts();
      const beganMs = clock.nowMs();
      const restored = (await attempts.try(() => this.#keepTable(table, () => true))) ?? [];
      const tablePauseEndMs = clock.nowMs() + LONGEST_TABLE_PAUSE_MS;
      this.#tableIdleUntilMs = Math.min(this.#idleUntil(beganMs, restored.length > 0), tablePauseEndMs);
      this.#isForwardDue = clock.nowMs() < this.#forwardIdleUntilMs;
      if (!this.#isForwardDue) {
        const forwardMs = clock.nowMs();
        const accepted = await attempts.try(() => this.#accept(ranges));
        // No pause after a failure or a held-back repair: the next pass would skip the chains and count as a success.
        const isInVain = accepted?.length === 0 && !this.#isHeldBack;
        this.#forwardIdleUntilMs = this.#idleUntil(forwardMs, !isInVain);
        restored.push(...(accepted ?? []));
      }
      attempts.end();
      gate.assertNothingRests();
      return restored;
    });
  }

  /** How long to wait for more changes before the next `restore`. Grows with the duration of checks without changes. */
  get delayMs(): number {
    return Math.max(DELAY_MS, this.#tableIdleUntilMs - this.#options.clock.nowMs());
  }

  /** The time until the `restore` that checks other programs' chains again; undefined if none is scheduled. */
  get forwardDueInMs(): number | undefined {
    return this.#isForwardDue ? Math.max(0, this.#forwardIdleUntilMs - this.#options.clock.nowMs()) : undefined;
  }

  /** Returns the time of the next check, after a check that began at `beganMs`. */
  #idleUntil(beganMs: number, hasChanged: boolean): number {
    const endedMs = this.#options.clock.nowMs();
    return hasChanged ? endedMs : endedMs + SHARE * (endedMs - beganMs);
  }

  async #apply({ table, ranges }: DesiredFirewall, isRepair: () => boolean): Promise<readonly string[]> {
    const attempts = new Attempts();
    const changed = (await attempts.try(() => this.#keepTable(table, isRepair))) ?? [];
    const accepted = (await attempts.try(() => this.#accept(ranges))) ?? [];
    attempts.end();
    return [...changed, ...accepted];
  }

  async #keepTable(table: Table, isRepair: () => boolean): Promise<string[]> {
    const { programmer, gate } = this.#options;
    const object = tableObject(tableText(table));
    const text = `table ${tableText(table)}`;
    const isAllowed = () => !isRepair() || gate.mayPutBack(object, text);
    return (await programmer.replaceTable(table, isAllowed)) ? [text] : [];
  }

  /** One transaction per table: if a part must wait, all of it waits. */
  async #accept(ranges: readonly Prefix[]): Promise<readonly string[]> {
    const { programmer, gate, onBlocked } = this.#options;
    const isRepair = (change: Request) => !isRemoval(change) && this.#accepted.has(identityText(change.object));
    this.#isHeldBack = false;
    const isAllowed = (changes: readonly Request[]) => {
      const verdicts = changes.map((change) => !isRepair(change) || gate.mayPutBack(change.object, () => change.text));
      const isHeldBack = verdicts.includes(false);
      this.#isHeldBack ||= isHeldBack;
      return !isHeldBack;
    };
    const { sent, blocked } = await programmer.acceptForwarded(ranges, isAllowed);
    for (const change of sent) {
      if (isRemoval(change)) this.#accepted.delete(identityText(change.object));
      else this.#accepted.add(identityText(change.object));
    }
    onBlocked(blocked.map((error) => blockedText(error, ranges)));
    return sent.map(({ text }) => text);
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#tail.then(work);
    this.#tail = turn.catch(() => undefined);
    return turn;
  }
}

function isRemoval({ type }: Request): boolean {
  return type === NFT_MSG_DELRULE.type;
}

/**
 * Describes a chain that weftd cannot change. The rules do not show whether that program accepts pods' packets by other
 * means.
 */
function blockedText(error: Error, ranges: readonly Prefix[]): string {
  const zone = ranges.map((range) => `--add-source=${formatPrefix(range)}`).join(" ");
  return (
    `${error.message}: the table's owner excludes other programs from it; make that program accept pods' traffic ` +
    `(firewalld: firewall-cmd --permanent --zone=trusted ${zone} && firewall-cmd --reload)`
  );
}
