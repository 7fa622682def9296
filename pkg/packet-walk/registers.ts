/** nf_tables' registers: sixteen words of four bytes (NFT_REG32_00 to _15), which overlap four 16-byte registers. */
import { NFT_REG, NFT_REG32_00 } from "../netlink/nftables.ts";
import type { Known } from "./packet.ts";

const REGISTER_BYTES = 64;
const WORD_BYTES = 4;

export class Registers {
  readonly #bytes: (number | undefined)[];
  /** The offsets of loaded values: several of them in a row form a key of several fields. */
  readonly #fieldStarts: Set<number>;

  constructor(
    bytes: readonly (number | undefined)[] = new Array<number | undefined>(REGISTER_BYTES).fill(undefined),
    fieldStarts: Iterable<number> = [],
  ) {
    this.#bytes = [...bytes];
    this.#fieldStarts = new Set(fieldStarts);
  }

  copy(): Registers {
    return new Registers(this.#bytes, this.#fieldStarts);
  }

  /** Stores a value and pads its last word with zeros, as the kernel does. */
  set(register: number, value: Known): void {
    const start = offsetOf(register);
    const length = Math.ceil(value.length / WORD_BYTES) * WORD_BYTES;
    for (let at = 0; at < length; at++) this.#bytes[start + at] = at < value.length ? value[at] : 0;
    this.#fieldStarts.add(start);
  }

  get(register: number, length: number): Known {
    return this.#bytes.slice(offsetOf(register), offsetOf(register) + length);
  }

  /** The bytes from `register` to the end. */
  from(register: number): Known {
    return this.#bytes.slice(offsetOf(register));
  }

  /** The offsets of the fields after the first one, in a key of `length` bytes at `register`. */
  fieldStarts(register: number, length: number): number[] {
    const start = offsetOf(register);
    return [...this.#fieldStarts].map((at) => at - start).filter((at) => at > 0 && at < length);
  }
}

function offsetOf(register: number): number {
  return register >= NFT_REG32_00 ? (register - NFT_REG32_00) * WORD_BYTES : (register - NFT_REG.r1) * 16;
}
