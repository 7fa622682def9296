import type { ManualClock } from "../../pkg/cluster/manual-clock.ts";

/** For tests: advances the clock by `ms`, and lets the passes that become due within this time run. */
export async function settled(clock: ManualClock, ms = 10): Promise<void> {
  for (let left = ms; left >= 0; left -= 5) {
    for (let turn = 0; turn < 3; turn++) {
      clock.advance(0);
      await new Promise((resolve) => setImmediate(resolve));
    }
    clock.advance(5);
  }
}
