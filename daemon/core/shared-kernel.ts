/**
 * One snapshot of the kernel for all controllers that run at the same time: the dumps of a large node cost tens of
 * milliseconds, and a Node event concerns several controllers at once.
 */
import type { Clock } from "../../pkg/cluster/clock.ts";
import type { KernelSnapshot } from "../../pkg/kernel/snapshot.ts";

export interface Observation {
  readonly state: KernelSnapshot;
  /** The netlink port that this process programs by: the kernel names it when it announces the change. */
  readonly port: number;
}

export interface KernelView {
  /** What the kernel holds, as it was at the time of the call or later. */
  snapshot(): Promise<Observation>;
}

/** How long a snapshot serves after it was made: there may be changes of which the kernel tells nothing. */
const SHARED_MS = 100;

interface Dump {
  readonly version: number;
  readonly observation: Promise<Observation>;
  /** Undefined while it is under way. */
  endedMs: number | undefined;
}

export class SharedKernel implements KernelView {
  readonly #dump: () => Promise<Observation>;
  readonly #clock: Pick<Clock, "nowMs">;
  #version = 0;
  #last: Dump | undefined;

  constructor(dump: () => Promise<Observation>, clock: Pick<Clock, "nowMs">) {
    this.#dump = dump;
    this.#clock = clock;
  }

  /** Something in the kernel has changed, or is about to: earlier snapshots serve no further call. */
  changed(): void {
    this.#version += 1;
  }

  /** Shared with the calls of before where nothing was heard to change since their dump began. */
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
      },
      () => {
        if (this.#last === dump) this.#last = undefined;
      },
    );
    return observation;
  }
}
