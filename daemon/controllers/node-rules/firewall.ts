/**
 * The node's nftables: what the last pass wanted in our own table and in other programs' forward chains, put back whenever
 * another program has changed something. Apart from the passes, since other programs commit all the time, and the dump of
 * one table of ours costs little. A look at other programs' chains costs as much as they hold, so our table does not wait
 * for it: it comes first, and each has its own pause.
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

/** A reload is many transactions. */
const DELAY_MS = 10;
/** Looking in vain takes at most one part in so many of a processor, however often others commit. */
const SHARE = 10;
/**
 * Of our own table: a look that took longer than a tenth of it has waited for another (a dump of all chains at the start, or
 * after announcements were lost), and says nothing about the next one.
 */
const LONGEST_TABLE_PAUSE_MS = 250;

export interface FirewallOptions {
  readonly clock: Pick<Clock, "nowMs">;
  readonly programmer: Pick<Programmer, "replaceTable" | "acceptForwarded">;
  readonly gate: Gate;
  /** Told after each look what stands in pods' way and cannot be changed from here; nothing where all is well. */
  readonly onBlocked: (reasons: readonly string[]) => void;
}

export interface DesiredFirewall {
  readonly table: Table;
  /** Pods' ranges, whose traffic other programs' chains are to let through. */
  readonly ranges: readonly Prefix[];
}

export class Firewall {
  readonly #options: FirewallOptions;
  #wanted: DesiredFirewall | undefined;
  /** Identities of what was put into other programs' chains, and not taken out since. */
  readonly #accepted = new Set<string>();
  #tableIdleUntilMs = 0;
  #forwardIdleUntilMs = 0;
  /** A change of another program's came during the pause. */
  #isForwardDue = false;
  /** Of other programs' chains something rests. */
  #isHeldBack = false;
  /** One look and change at a time: two would both add what both find missing. */
  #tail: Promise<unknown> = Promise.resolve();

  constructor(options: FirewallOptions) {
    this.#options = options;
  }

  /** Makes the kernel hold what is wanted, from now on; returns what was changed, in words. */
  keep(wanted: DesiredFirewall): Promise<readonly string[]> {
    const before = this.#wanted?.table;
    this.#wanted = wanted;
    return this.#inTurn(() =>
      this.#apply(wanted, () => before !== undefined && isDeepStrictEqual(before, wanted.table)),
    );
  }

  /**
   * Puts back what the last `keep` asked for; returns what was missing, in words. Other programs' chains wait until
   * `forwardDueInMs`. Throws where something rests.
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
        // Not to be passed over where something failed or rests: the pass would count as a success.
        const isInVain = accepted?.length === 0 && !this.#isHeldBack;
        this.#forwardIdleUntilMs = this.#idleUntil(forwardMs, !isInVain);
        restored.push(...(accepted ?? []));
      }
      attempts.end();
      gate.assertNothingRests();
      return restored;
    });
  }

  /** How long to wait for more changes before the next `restore`: the busier the others, the longer. */
  get delayMs(): number {
    return Math.max(DELAY_MS, this.#tableIdleUntilMs - this.#options.clock.nowMs());
  }

  /** Until the `restore` that looks at other programs' chains again; `undefined` where none waits for that. */
  get forwardDueInMs(): number | undefined {
    return this.#isForwardDue ? Math.max(0, this.#forwardIdleUntilMs - this.#options.clock.nowMs()) : undefined;
  }

  /** When to look again, after a look that began then. */
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

  /** One transaction a table: all of it rests where a part does. */
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

/** Whether that program lets pods through by means of its own cannot be told from its rules. */
function blockedText(error: Error, ranges: readonly Prefix[]): string {
  const zone = ranges.map((range) => `--add-source=${formatPrefix(range)}`).join(" ");
  return (
    `${error.message}: the table's owner keeps others out of it; let that program accept pods' traffic ` +
    `(firewalld: firewall-cmd --permanent --zone=trusted ${zone} && firewall-cmd --reload)`
  );
}
