/** The registers of nf_tables (nft_parse_register_load, nft_parse_register_store). */
import { NFT_REG, NFT_REG32_00 } from "../../netlink/nftables.ts";
import { Refusal } from "./refusal.ts";

const WORD_BYTES = 4;
const WORDS_PER_REGISTER = 4;
/** NFT_REG_4, NFT_REG32_15 */
const LAST_REGISTER = 4;
const LAST_WORD = NFT_REG32_00 + 15;
/** The verdict takes the first four words, and data takes the sixteen words after it. */
const FIRST_DATA_WORD = 4;
const WORD_COUNT = 20;

/** The first word (four bytes) of a register. Throws `Refusal` ERANGE for an unknown number. */
export function wordOf(register: number): number {
  if (register >= NFT_REG.verdict && register <= LAST_REGISTER) return register * WORDS_PER_REGISTER;
  if (register >= NFT_REG32_00 && register <= LAST_WORD) return register - NFT_REG32_00 + FIRST_DATA_WORD;
  throw new Refusal("ERANGE");
}

/** The register number in a dump: the 16-byte register if one starts there. */
export function dumpedRegister<R extends number | undefined>(register: R): R | number {
  if (register === undefined) return register;
  const word = wordOf(register);
  return word % WORDS_PER_REGISTER === 0 ? word / WORDS_PER_REGISTER : word - FIRST_DATA_WORD + NFT_REG32_00;
}

/** The registers that the expressions of one rule have stored so far. */
export class Registers {
  readonly #filled = new Set<number>();

  /** Throws `Refusal` ENODATA if no earlier expression has stored the bytes (Linux 6.18). */
  load(register: number, bytes: number): void {
    for (const word of wordsOf(register, bytes)) if (!this.#filled.has(word)) throw new Refusal("ENODATA");
  }

  store(register: number, bytes: number): void {
    for (const word of wordsOf(register, bytes)) this.#filled.add(word);
  }
}

function wordsOf(register: number, bytes: number): number[] {
  const first = wordOf(register);
  if (first < FIRST_DATA_WORD || bytes === 0) throw new Refusal("EINVAL");
  if (first * WORD_BYTES + bytes > WORD_COUNT * WORD_BYTES) throw new Refusal("ERANGE");
  return Array.from({ length: Math.ceil(bytes / WORD_BYTES) }, (_, at) => first + at);
}
