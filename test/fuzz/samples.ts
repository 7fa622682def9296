/**
 * The number of cases that random tests try, and their seed.
 *
 * `npm test` and `npm run test:unit` try a small sample from a fixed seed: they are fast, and a commit gives the same
 * result each time. `npm run test:fuzz` sets WEFT_FUZZ=true: many more cases, from a new seed each time. A failure
 * prints its seed; WEFT_FUZZ_SEED=SEED repeats it.
 */
const { WEFT_FUZZ, WEFT_FUZZ_SEED } = process.env;

const FIXED_SEED = 1;

export interface Samples {
  /** Undefined for a new seed at each run. */
  readonly seed: number | undefined;
  /** The limit of a test in milliseconds. */
  readonly limitMs: number;
  /** Returns the number of cases of a test: `few` by default, `many` for `npm run test:fuzz`. */
  runs(few: number, many: number): number;
}

/** Returns the samples that these values of WEFT_FUZZ and WEFT_FUZZ_SEED ask for. */
export function samplesOf(fuzz: string | undefined, seed: string | undefined): Samples {
  const isThorough = fuzz === "true";
  const given = seed === undefined ? undefined : Number(seed);
  if (given !== undefined && !Number.isInteger(given)) throw new Error(`WEFT_FUZZ_SEED=${seed} is not an integer`);
  return {
    seed: given ?? (isThorough ? undefined : FIXED_SEED),
    // Five seconds, vitest's default, are too few on a busy machine.
    limitMs: isThorough ? 3_600_000 : 60_000,
    runs: (few, many) => (isThorough ? many : few),
  };
}

export const { seed, limitMs, runs } = samplesOf(WEFT_FUZZ, WEFT_FUZZ_SEED);
