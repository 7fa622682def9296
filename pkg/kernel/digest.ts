/** The FNV-1a hash (64 bits). It distinguishes names; it is not cryptographically secure. */
export function fnv1a64(text: string): bigint {
  let hash = 0xcbf29ce484222325n;
  for (let at = 0; at < text.length; at++) {
    hash = ((hash ^ BigInt(text.charCodeAt(at))) * 0x100000001b3n) & 0xffffffffffffffffn;
  }
  return hash;
}

/**
 * Formats 16 digits. Converts each half by itself: QuickJS (2025-04-26) writes an extra zero for a BigInt with bit 63
 * set.
 */
export function hexadecimal(word: bigint): string {
  const digits = (half: bigint) => Number(half).toString(16).padStart(8, "0");
  return `${digits(word >> 32n)}${digits(word & 0xffffffffn)}`;
}

const WORD = (1n << 64n) - 1n;

/** The first 64 fractional bits of a prime's root. */
function rootBits(prime: bigint, degree: bigint): bigint {
  const target = prime << (64n * degree);
  let low = 0n;
  let high = prime << 64n;
  while (high - low > 1n) {
    const middle = (low + high) >> 1n;
    if (middle ** degree <= target) low = middle;
    else high = middle;
  }
  return low & WORD;
}

function firstPrimes(count: number): bigint[] {
  const primes: bigint[] = [];
  for (let number = 2n; primes.length < count; number++) {
    if (primes.every((prime) => number % prime !== 0n)) primes.push(number);
  }
  return primes;
}

/** Splits each word of 64 bits into two halves, the upper one first. */
function halvesOf(words: readonly bigint[]): Int32Array {
  return Int32Array.from(words.flatMap((word) => [Number(word >> 32n) | 0, Number(word & 0xffffffffn) | 0]));
}

const ROUNDS = 80;

/**
 * The constants of FIPS 180-4, sections 4.2.3 and 5.3.5. The executables' memory image contains them, so they are
 * computed at build time.
 */
const ROUND_CONSTANTS = halvesOf(firstPrimes(ROUNDS).map((prime) => rootBits(prime, 3n)));
const INITIAL_STATE = halvesOf(firstPrimes(8).map((prime) => rootBits(prime, 2n)));

/**
 * SHA-512 (FIPS 180-4) of the text in UTF-8, in hexadecimal digits. The reference plugins derive object names from it.
 * Words are pairs of 32-bit halves, the upper one first: QuickJS takes 2.6 times as many instructions with BigInt.
 */
export function sha512(text: string): string {
  const bytes = new TextEncoder().encode(text);
  const padded = new Uint8Array(Math.ceil((bytes.length + 17) / 128) * 128);
  padded.set(bytes);
  padded[bytes.length] = 0x80;
  const view = new DataView(padded.buffer);
  view.setBigUint64(padded.length - 8, BigInt(bytes.length) * 8n);
  const state = INITIAL_STATE.slice();
  for (let at = 0; at < padded.length; at += 128) compress(state, scheduleOf(view, at));
  let digits = "";
  for (const half of state) digits += (half >>> 0).toString(16).padStart(8, "0");
  return digits;
}

/** A sum of lower halves, divided by this, is the carry to the upper halves. */
const HALF = 2 ** 32;

/** Reads one block of 128 bytes, and expands it to a word for each round (section 6.4.2, step 1). */
function scheduleOf(block: DataView, start: number): Int32Array {
  const words = new Int32Array(2 * ROUNDS);
  for (let at = 0; at < 32; at++) words[at] = block.getInt32(start + at * 4);
  for (let at = 32; at < 2 * ROUNDS; at += 2) {
    const oldHigh = words[at - 30] as number;
    const oldLow = words[at - 29] as number;
    const recentHigh = words[at - 4] as number;
    const recentLow = words[at - 3] as number;
    const low =
      (scheduleSigma0(oldLow, oldHigh, oldHigh) >>> 0) +
      (scheduleSigma1(recentLow, recentHigh, recentHigh) >>> 0) +
      ((words[at - 13] as number) >>> 0) +
      ((words[at - 31] as number) >>> 0);
    words[at] =
      scheduleSigma0(oldHigh, oldLow, 0) +
      scheduleSigma1(recentHigh, recentLow, 0) +
      (words[at - 14] as number) +
      (words[at - 32] as number) +
      ((low / HALF) | 0);
    words[at + 1] = low;
  }
  return words;
}

/*
 * The functions of section 4.1.3, for one half of a word. `other` is the word's other half. `above` is the half that is
 * shifted into this one: the upper half, or 0 for the upper half itself.
 */
const scheduleSigma0 = (half: number, other: number, above: number) =>
  ((half >>> 1) | (other << 31)) ^ ((half >>> 8) | (other << 24)) ^ ((half >>> 7) | (above << 25));
const scheduleSigma1 = (half: number, other: number, above: number) =>
  ((half >>> 19) | (other << 13)) ^ ((other >>> 29) | (half << 3)) ^ ((half >>> 6) | (above << 26));
const sigma0 = (half: number, other: number) =>
  ((half >>> 28) | (other << 4)) ^ ((other >>> 2) | (half << 30)) ^ ((other >>> 7) | (half << 25));
const sigma1 = (half: number, other: number) =>
  ((half >>> 14) | (other << 18)) ^ ((half >>> 18) | (other << 14)) ^ ((other >>> 9) | (half << 23));

/**
 * Adds one block to the state (section 6.4.2, steps 2 to 4). The standard's variables b, c and d are earlier values of
 * a, and f, g and h those of e. So each round appends one word to `a` and one to `e`.
 */
function compress(state: Int32Array, schedule: Int32Array): void {
  const a = new Int32Array(2 * (ROUNDS + 4));
  const e = new Int32Array(2 * (ROUNDS + 4));
  for (let at = 0; at < 8; at += 2) {
    for (const half of [0, 1]) {
      a[6 - at + half] = state[at + half] as number;
      e[6 - at + half] = state[8 + at + half] as number;
    }
  }
  for (let at = 0; at < 2 * ROUNDS; at += 2) {
    const aHigh = a[at + 6] as number;
    const aLow = a[at + 7] as number;
    const eHigh = e[at + 6] as number;
    const eLow = e[at + 7] as number;
    const low =
      ((e[at + 1] as number) >>> 0) +
      (sigma1(eLow, eHigh) >>> 0) +
      (((eLow & (e[at + 5] as number)) ^ (~eLow & (e[at + 3] as number))) >>> 0) +
      ((ROUND_CONSTANTS[at + 1] as number) >>> 0) +
      ((schedule[at + 1] as number) >>> 0);
    const high =
      (e[at] as number) +
      sigma1(eHigh, eLow) +
      ((eHigh & (e[at + 4] as number)) ^ (~eHigh & (e[at + 2] as number))) +
      (ROUND_CONSTANTS[at] as number) +
      (schedule[at] as number) +
      ((low / HALF) | 0);
    const eSum = ((a[at + 1] as number) >>> 0) + (low >>> 0);
    e[at + 8] = (a[at] as number) + high + ((eSum / HALF) | 0);
    e[at + 9] = eSum;
    const aSum = (low >>> 0) + (sigma0(aLow, aHigh) >>> 0) + (majority(aLow, a[at + 5], a[at + 3]) >>> 0);
    a[at + 8] = high + sigma0(aHigh, aLow) + majority(aHigh, a[at + 4], a[at + 2]) + ((aSum / HALF) | 0);
    a[at + 9] = aSum;
  }
  for (let at = 0; at < 8; at += 2) {
    add(state, at, a, 2 * ROUNDS + 6 - at);
    add(state, 8 + at, e, 2 * ROUNDS + 6 - at);
  }
}

const majority = (one = 0, two = 0, three = 0) => (one & two) ^ (one & three) ^ (two & three);

/** Adds the word at `from` to that at `to`. */
function add(sums: Int32Array, to: number, words: Int32Array, from: number): void {
  const low = ((sums[to + 1] as number) >>> 0) + ((words[from + 1] as number) >>> 0);
  sums[to] = (sums[to] as number) + (words[from] as number) + ((low / HALF) | 0);
  sums[to + 1] = low;
}
