/**
 * Loaded into a program before its own code (node --import): at each SIGUSR2 the time of day jumps by 400 days, forward
 * and back in turn. The clock that only counts up goes on as it was, as on a machine whose time somebody sets.
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
