/**
 * Loaded into a program before its own code (node --import). At each SIGUSR2 the wall clock jumps by 400 days, forward
 * and back in turn. The monotonic clock is unaffected, as when an operator sets a machine's time.
 */
const JUMP_MS = 400 * 86_400_000;

const RealDate = Date;
let offsetMs = 0;

class JumpingDate extends RealDate {
  constructor(...args: [] | [number | string | Date]) {
    if (args.length === 0) super(RealDate.now() + offsetMs);
    else super(...args);
  }

  static override now(): number {
    return RealDate.now() + offsetMs;
  }
}

globalThis.Date = JumpingDate as DateConstructor;
process.on("SIGUSR2", () => {
  offsetMs = offsetMs === 0 ? JUMP_MS : 0;
});
