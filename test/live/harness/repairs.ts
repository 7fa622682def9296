/** The durations of repairs, by kind. */
import Table from "cli-table3";

export class Repairs {
  readonly #times = new Map<string, number[]>();

  /** Runs `work` and records its duration. */
  async time<T>(kind: string, work: () => Promise<T>): Promise<T> {
    const beganMs = performance.now();
    const done = await work();
    this.#times.set(kind, [...(this.#times.get(kind) ?? []), performance.now() - beganMs]);
    return done;
  }

  /** Over all kinds, in milliseconds; `share` is from 0 to 1. */
  percentile(share: number): number {
    return percentileOf([...this.#times.values()].flat(), share);
  }

  /** The worst of the kinds' best times, in milliseconds. */
  slowest(): number {
    return Math.max(...[...this.#times.values()].map((times) => Math.min(...times)));
  }

  /** A table for people: each kind's median and maximum, then p50 and p99 over all. */
  table(title: string): string {
    const table = new Table({ head: [title, "p50 ms", "max ms"], style: { head: [], border: [] } });
    for (const [kind, times] of this.#times) {
      table.push([kind, percentileOf(times, 0.5).toFixed(1), Math.max(...times).toFixed(1)]);
    }
    const count = [...this.#times.values()].flat().length;
    table.push([`all ${count}: p50 and p99`, this.percentile(0.5).toFixed(1), this.percentile(0.99).toFixed(1)]);
    return table.toString();
  }
}

function percentileOf(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
}
