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

/** A change of which the kernel tells nothing is at most so much older than the snapshot. */
const SHARED_MS = 20;

export class SharedKernel implements KernelView {
  readonly #dump: () => Promise<Observation>;
  readonly #clock: Pick<Clock, "nowMs">;
  #version = 0;
  #last: { readonly version: number; readonly beganMs: number; readonly observation: Promise<Observation> } | undefined;

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
    const nowMs = this.#clock.nowMs();
    const last = this.#last;
    if (last !== undefined && last.version === this.#version && nowMs - last.beganMs < SHARED_MS)
      return last.observation;
    const observation = this.#dump();
    const shared = { version: this.#version, beganMs: nowMs, observation };
    this.#last = shared;
    observation.catch(() => {
      if (this.#last === shared) this.#last = undefined;
    });
    return observation;
  }
}
