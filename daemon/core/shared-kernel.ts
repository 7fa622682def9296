/**
 * Shares one snapshot of the kernel among all controllers that run at the same time. The dumps of a large node cost
 * tens of milliseconds, and one Node event concerns several controllers.
 */
import type { Clock } from "../../pkg/cluster/clock.ts";
import type { KernelSnapshot } from "../../pkg/kernel/snapshot.ts";

export interface Observation {
  readonly state: KernelSnapshot;
  /** The netlink port through which this process programs. The kernel includes it in notifications of these changes. */
  readonly port: number;
}

export interface KernelView {
  /** Returns the kernel's state at the time of the call or later. */
  snapshot(): Promise<Observation>;
}

/** How long a finished snapshot is used. It is short because the kernel does not announce every change. */
const SHARED_MS = 100;

interface Dump {
  readonly version: number;
  readonly observation: Promise<Observation>;
  /** Undefined while the dump is running. */
  endedMs: number | undefined;
}

export class SharedKernel implements KernelView {
  readonly #dump: () => Promise<Observation>;
  readonly #clock: Pick<Clock, "nowMs" | "setTimer">;
  #version = 0;
  #last: Dump | undefined;

  constructor(dump: () => Promise<Observation>, clock: Pick<Clock, "nowMs" | "setTimer">) {
    this.#dump = dump;
    this.#clock = clock;
  }

  /** Something in the kernel has changed or is about to: later calls do not use earlier snapshots. */
  changed(): void {
    this.#version += 1;
  }

  /** Shares the last dump if no change was announced since it began and it has not expired. */
  snapshot(): Promise<Observation> {
    const last = this.#last;
    if (last !== undefined && last.version === this.#version) {
      const ageMs = last.endedMs === undefined ? 0 : this.#clock.nowMs() - last.endedMs;
      if (ageMs < SHARED_MS) return last.observation;
    }
    const observation = this.#dump();
    const dump: Dump = { version: this.#version, observation, endedMs: undefined };
    this.#last = dump;
    observation.then(
      () => {
        dump.endedMs = this.#clock.nowMs();
        // A snapshot of 5,000 peers takes 4 MiB.
        this.#clock.setTimer(SHARED_MS, () => this.#forget(dump));
      },
      () => this.#forget(dump),
    );
    return observation;
  }

  #forget(dump: Dump): void {
    if (this.#last === dump) this.#last = undefined;
  }
}
