/**
 * Why the kernel's state of a table may differ from what weftd remembers. While there is a reason, changes are not enough:
 * everything must be compared with the kernel.
 */
import type { Clock } from "../../pkg/cluster/clock.ts";
import type { Repairs } from "./drivers/table-programmer.ts";

/**
 * Only `damage`, `contention` and `background` lead to repairs. In the other cases the desired state is new, or weftd's own
 * transaction failed.
 */
export type Doubt = "start" | "turn" | "settings" | "failure" | "damage" | "contention" | "background";
const REPAIRING: ReadonlySet<Doubt> = new Set<Doubt>(["damage", "contention", "background"]);

/**
 * The average time between periodic comparisons, which find differences that neither notifications nor answers have
 * shown.
 */
const BACKGROUND_MS = 10 * 60_000;

/** A comparison of everything that has begun. */
export interface Comparison {
  readonly doubts: readonly Doubt[];
  /** True if another program must have caused the differences, as far as the desired state has not changed. */
  readonly isRepair: boolean;
  readonly repairs: Repairs;
}

export class Doubts {
  readonly #clock: Pick<Clock, "nowMs" | "random">;
  readonly #doubts = new Set<Doubt>(["start"]);
  /** The times at which comparisons are due: the periodic one, and the one for held-back repairs. */
  readonly #dueMs = new Map<"background" | "contention", number>();

  constructor(clock: Pick<Clock, "nowMs" | "random">) {
    this.#clock = clock;
  }

  add(doubt: Doubt): void {
    this.#doubts.add(doubt);
  }

  /** Includes the comparisons that are due. */
  get current(): readonly Doubt[] {
    for (const [doubt, dueMs] of this.#dueMs) if (this.#clock.nowMs() >= dueMs) this.#doubts.add(doubt);
    return [...this.#doubts];
  }

  /** True while repairs are held back, because another program keeps undoing them. */
  get isContended(): boolean {
    return this.#dueMs.has("contention");
  }

  /** Repairs are held back until this time. */
  restsUntil(untilMs: number): void {
    this.#dueMs.set("contention", untilMs);
  }

  /** Returns the comparisons that are due later, with the time until then. */
  upcoming(): readonly (readonly [Doubt, number])[] {
    const nowMs = this.#clock.nowMs();
    return [...this.#dueMs].map(([doubt, dueMs]) => [doubt, Math.max(0, dueMs - nowMs)] as const);
  }

  /**
   * Begins a comparison, which answers the present doubts but not later ones. `hasChanges`: the desired state has changed
   * since the last one.
   */
  begin(hasChanges: boolean): Comparison {
    const doubts = this.current;
    this.#doubts.clear();
    const isRepair = doubts.every((doubt) => REPAIRING.has(doubt));
    // A failed change does not bypass the gate while another program keeps undoing repairs.
    const repairs = isRepair && !hasChanges ? "objects" : isRepair || this.isContended ? "table" : "none";
    return { doubts, isRepair, repairs };
  }

  /** The comparison has ended. `resting`: the number of requests that were held back. */
  succeeded(resting: number): void {
    this.#dueMs.set("background", this.#clock.nowMs() + BACKGROUND_MS * (0.5 + this.#clock.random()));
    if (resting === 0) this.#dueMs.delete("contention");
  }

  failed({ doubts }: Pick<Comparison, "doubts">): void {
    for (const doubt of [...doubts, "failure" as const]) this.#doubts.add(doubt);
  }

  /** There is nothing to compare any more, for example because the table has been removed. */
  settle(): void {
    this.#doubts.clear();
    this.#dueMs.clear();
  }
}
