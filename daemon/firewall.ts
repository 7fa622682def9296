/**
 * The node's nftables: what the last pass wanted, put back whenever somebody else has changed something. Apart from the
 * passes, since other programs commit all the time, and the dump of one table of ours costs little.
 */
import { isDeepStrictEqual } from "node:util";
import type { Clock } from "../pkg/cluster/clock.ts";
import type { Table } from "../pkg/kernel/nft/table.ts";
import type { Gate, Programmer } from "./programmer.ts";

/** A reload is many transactions. */
const DELAY_MS = 10;
/** Looking in vain takes at most one part in so many of a processor, however often others commit. */
const SHARE = 10;

export interface FirewallOptions {
  readonly clock: Pick<Clock, "nowMs">;
  readonly programmer: Pick<Programmer, "replaceTable">;
  readonly gate: Gate;
}

export class Firewall {
  readonly #options: FirewallOptions;
  #wanted: Table | undefined;
  #idleUntilMs = 0;
  /** One look and change at a time: two would both add what both find missing. */
  #tail: Promise<unknown> = Promise.resolve();

  constructor(options: FirewallOptions) {
    this.#options = options;
  }

  /** Makes the kernel hold `table`, from now on; returns what was changed, in words. */
  keep(table: Table): Promise<readonly string[]> {
    const before = this.#wanted;
    this.#wanted = table;
    return this.#inTurn(() => this.#apply(table, () => before !== undefined && isDeepStrictEqual(before, table)));
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

  async #apply(table: Table, isRepair: () => boolean): Promise<readonly string[]> {
    const { programmer, gate } = this.#options;
    const text = `table ${table.family} ${table.name}`;
    const isAllowed = () => !isRepair() || gate.mayPutBack(text);
    return (await programmer.replaceTable(table, isAllowed)) ? [text] : [];
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#tail.then(work);
    this.#tail = turn.catch(() => undefined);
    return turn;
  }
}
