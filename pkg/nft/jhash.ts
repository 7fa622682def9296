/** The kernel's hash function. */

/** JHASH_INITVAL */
const INITIAL = 0xdead_beef;

/** jhash() of include/linux/jhash.h: Bob Jenkins' lookup3, with words in host byte order. */
export function jhash(byteAt: (at: number) => number, length: number, seed: number): number {
  const word = (at: number, end: number) => {
    let value = 0;
    for (let byte = 0; byte < 4 && at + byte < end; byte++) value |= byteAt(at + byte) << (8 * byte);
    return value;
  };
  let a = (INITIAL + length + seed) | 0;
  let [b, c] = [a, a];
  let at = 0;
  for (; length - at > 12; at += 12) {
    a = (a + word(at, length)) | 0;
    b = (b + word(at + 4, length)) | 0;
    c = (c + word(at + 8, length)) | 0;
    // __jhash_mix
    a = (a - c) ^ rotate(c, 4);
    c = (c + b) | 0;
    b = (b - a) ^ rotate(a, 6);
    a = (a + c) | 0;
    c = (c - b) ^ rotate(b, 8);
    b = (b + a) | 0;
    a = (a - c) ^ rotate(c, 16);
    c = (c + b) | 0;
    b = (b - a) ^ rotate(a, 19);
    a = (a + c) | 0;
    c = (c - b) ^ rotate(b, 4);
    b = (b + a) | 0;
  }
  if (at === length) return c >>> 0;
  a = (a + word(at, length)) | 0;
  b = (b + word(at + 4, length)) | 0;
  c = (c + word(at + 8, length)) | 0;
  // __jhash_final
  c = (c ^ b) - rotate(b, 14);
  a = (a ^ c) - rotate(c, 11);
  b = (b ^ a) - rotate(a, 25);
  c = (c ^ b) - rotate(b, 16);
  a = (a ^ c) - rotate(c, 4);
  b = (b ^ a) - rotate(a, 14);
  c = (c ^ b) - rotate(b, 24);
  return c >>> 0;
}

function rotate(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits));
}
