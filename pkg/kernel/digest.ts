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

/**
 * The constants of FIPS 180-4, sections 4.2.3 and 5.3.5. The executables' memory image contains them, so they are
 * computed at build time.
 */
const ROUND_CONSTANTS = firstPrimes(80).map((prime) => rootBits(prime, 3n));
const INITIAL_STATE = firstPrimes(8).map((prime) => rootBits(prime, 2n));

const rotate = (word: bigint, by: bigint) => ((word >> by) | (word << (64n - by))) & WORD;

/**
 * SHA-512 (FIPS 180-4) of the text in UTF-8, in hexadecimal digits. The reference plugins derive object names from it.
 */
export function sha512(text: string): string {
  const bytes = new TextEncoder().encode(text);
  const padded = new Uint8Array(Math.ceil((bytes.length + 17) / 128) * 128);
  padded.set(bytes);
  padded[bytes.length] = 0x80;
  const view = new DataView(padded.buffer);
  view.setBigUint64(padded.length - 8, BigInt(bytes.length) * 8n);
  let state = INITIAL_STATE;
  for (let at = 0; at < padded.length; at += 128) state = compress(state, view, at);
  return state.map(hexadecimal).join("");
}

/** Processes one block of 128 bytes (section 6.4.2). */
function compress(state: readonly bigint[], view: DataView, start: number): bigint[] {
  const schedule: bigint[] = [];
  const word = (index: number) => schedule[index] ?? 0n;
  let [a = 0n, b = 0n, c = 0n, d = 0n, e = 0n, f = 0n, g = 0n, h = 0n] = state;
  ROUND_CONSTANTS.forEach((constant, t) => {
    if (t < 16) {
      schedule.push(view.getBigUint64(start + t * 8));
    } else {
      const [old, recent] = [word(t - 15), word(t - 2)];
      const sigma0 = rotate(old, 1n) ^ rotate(old, 8n) ^ (old >> 7n);
      const sigma1 = rotate(recent, 19n) ^ rotate(recent, 61n) ^ (recent >> 6n);
      schedule.push((word(t - 16) + sigma0 + word(t - 7) + sigma1) & WORD);
    }
    const choice = (e & f) ^ (~e & WORD & g);
    const majority = (a & b) ^ (a & c) ^ (b & c);
    const sum1 = rotate(e, 14n) ^ rotate(e, 18n) ^ rotate(e, 41n);
    const sum0 = rotate(a, 28n) ^ rotate(a, 34n) ^ rotate(a, 39n);
    const first = h + sum1 + choice + constant + word(t);
    [h, g, f, e, d, c, b, a] = [g, f, e, (d + first) & WORD, c, b, a, (first + sum0 + majority) & WORD];
  });
  return [a, b, c, d, e, f, g, h].map((value, index) => (value + (state[index] ?? 0n)) & WORD);
}
