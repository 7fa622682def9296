/**
 * The node's nftables: what the last pass wanted in our own table and in other programs' forward chains, put back whenever
 * somebody else has changed something. Apart from the passes, since other programs commit all the time, and the dump of one
 * table of ours costs little.
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

export interface FirewallOptions {
  readonly clock: Pick<Clock, "nowMs">;
  readonly programmer: Pick<Programmer, "replaceTable" | "acceptForwarded">;
  readonly gate: Gate;
  /** Told after each look what stands in pods' way and cannot be changed from here; nothing where all is well. */
  readonly onBlocked: (reasons: readonly string[]) => void;
}

export interface FirewallWishes {
  readonly table: Table;
  /** Pods' ranges, whose traffic other programs' chains are to let through. */
  readonly ranges: readonly Prefix[];
}

export class Firewall {
  readonly #options: FirewallOptions;
  #wanted: FirewallWishes | undefined;
  /** Identities of what was put into other programs' chains, and not taken out since. */
  readonly #accepted = new Set<string>();
  #idleUntilMs = 0;
  /** One look and change at a time: two would both add what both find missing. */
  #tail: Promise<unknown> = Promise.resolve();

  constructor(options: FirewallOptions) {
    this.#options = options;
  }

  /** Makes the kernel hold what is wanted, from now on; returns what was changed, in words. */
  keep(wanted: FirewallWishes): Promise<readonly string[]> {
    const before = this.#wanted?.table;
    this.#wanted = wanted;
    return this.#inTurn(() =>
      this.#apply(wanted, () => before !== undefined && isDeepStrictEqual(before, wanted.table)),
    );
  }

  /** Puts back what the last `keep` asked for; returns what was missing, in words. Throws where that rests. */
  restore(): Promise<readonly string[]> {
    return this.#inTurn(async () => {
      const { clock, gate } = this.#options;
      if (this.#wanted === undefined) return [];
      const beganMs = clock.nowMs();
      const restored = await this.#apply(this.#wanted, () => true);
      const endedMs = clock.nowMs();
      this.#idleUntilMs = restored.length > 0 ? endedMs : endedMs + SHARE * (endedMs - beganMs);
      gate.assertNothingRests();
      return restored;
    });
  }

  /** How long to wait for more changes before the next `restore`: the busier the others, the longer. */
  get delayMs(): number {
    return Math.max(DELAY_MS, this.#idleUntilMs - this.#options.clock.nowMs());
  }

  async #apply({ table, ranges }: FirewallWishes, isRepair: () => boolean): Promise<readonly string[]> {
    const { programmer, gate } = this.#options;
    const object = tableObject(tableText(table));
    const text = `table ${tableText(table)}`;
    const isAllowed = () => !isRepair() || gate.mayPutBack(object, text);
    const attempts = new Attempts();
    const isChanged = await attempts.try(() => programmer.replaceTable(table, isAllowed));
    const accepted = await attempts.try(() => this.#accept(ranges));
    attempts.end();
    return [...(isChanged === true ? [text] : []), ...(accepted ?? [])];
  }

  /** One transaction a table: all of it rests where a part does. */
  async #accept(ranges: readonly Prefix[]): Promise<readonly string[]> {
    const { programmer, gate, onBlocked } = this.#options;
    const isRepair = (change: Request) => !isRemoval(change) && this.#accepted.has(identityText(change.object));
    const isAllowed = (changes: readonly Request[]) =>
      changes.map((change) => !isRepair(change) || gate.mayPutBack(change.object, () => change.text)).every(Boolean);
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
