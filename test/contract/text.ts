/**
 * TextEncoder and TextDecoder as scenarios: Node.js has the standard implementation (WHATWG Encoding), QuickJS gets
 * weft's.
 */
import type { Outcome } from "./outcome.ts";

const encode = (text: string): Outcome => [...new TextEncoder().encode(text)];
const decode = (...bytes: number[]): Outcome => new TextDecoder().decode(Uint8Array.from(bytes));
const decodeStrictly = (...bytes: number[]): Outcome => {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(Uint8Array.from(bytes));
  } catch (error) {
    return (error as Error).name;
  }
};

export const textScenarios: Readonly<Record<string, () => Outcome>> = {
  "characters of one to four bytes are encoded": () => encode("a\0ß漢😀"),
  "half a surrogate pair is encoded as U+FFFD": () => [encode("\ud83d"), encode("a\ude00b"), encode("\ude00\ud83d")],
  "an empty string is encoded as no bytes": () => [encode(""), [...new TextEncoder().encode()]],
  "characters of one to four bytes are decoded": () =>
    decode(97, 0, 0xc3, 0x9f, 0xe6, 0xbc, 0xa2, 0xf0, 0x9f, 0x98, 0x80),
  "a byte order mark is removed only at the start": () => [
    decode(0xef, 0xbb, 0xbf, 97),
    decode(97, 0xef, 0xbb, 0xbf),
    decode(0xef, 0xbb, 0xbf),
  ],
  "only the viewed part of a buffer is decoded": () =>
    new TextDecoder().decode(Uint8Array.from([97, 98, 99, 100]).subarray(1, 3)),
  "no bytes are decoded as an empty string": () => [decode(), new TextDecoder().decode()],
  "invalid UTF-8 is decoded as U+FFFD, one for each part that could have begun a character": () => [
    decode(0x80, 0xff, 97),
    decode(0xe2, 0x82, 97),
    decode(0xe2, 0x82),
    decode(0xf0, 0x9f, 0x98),
    decode(0xf0, 0x9f, 97),
    decode(0xc0, 0xaf),
    decode(0xe0, 0x80, 0xaf),
    decode(0xed, 0xa0, 0xbd),
    decode(0xf4, 0x90, 0x80, 0x80),
    decode(0xf8, 0x88, 0x80, 0x80, 0x80),
    decode(0xf0, 0x9f, 0xf0, 0x9f, 0x98, 0x80),
  ],
  "random bytes are decoded alike, and their text encoded alike": () => {
    // Bytes at the boundaries that a decoder distinguishes.
    const edges = [0, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe2, 0xed, 0xef];
    const bytes = [...edges, 0xbb, 0xf0, 0xf1, 0xf4, 0xf5, 0xff];
    // A linear congruential generator (Numerical Recipes): the same numbers in every implementation.
    let state = 1;
    const draw = (below: number) => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return Math.floor((state / 2 ** 32) * below);
    };
    return Array.from({ length: 1000 }, () => {
      const text = new TextDecoder().decode(Uint8Array.from({ length: draw(9) }, () => bytes[draw(bytes.length)] ?? 0));
      return [text, encode(text)];
    });
  },
  "an encoding other than UTF-8 is rejected": () => {
    const decodeAs = (label: string) => {
      try {
        return new TextDecoder(label).decode(Uint8Array.of(97));
      } catch (error) {
        return (error as Error).name;
      }
    };
    return [decodeAs("utf-8"), decodeAs("UTF8"), decodeAs("no-such-encoding")];
  },
  "a strict decoder rejects invalid UTF-8": () => [
    decodeStrictly(97, 0xc3, 0x9f),
    decodeStrictly(0xe2, 0x82),
    decodeStrictly(0xed, 0xa0, 0xbd),
    decodeStrictly(0xff),
  ],
};
