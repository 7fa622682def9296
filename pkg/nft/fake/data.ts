/** Values and verdicts in expressions and elements (nft_data_init). */
import { type NftData, VERDICT } from "../../netlink/nftables.ts";
import { chainByName } from "./draft.ts";
import { Refusal, required } from "./refusal.ts";
import type { TableState } from "./state.ts";

/** NFT_DATA_VALUE_MAXLEN: sixteen words. */
const LONGEST_VALUE = 64;

/** NFT_CONTINUE, NFT_BREAK, NF_QUEUE: weft's rules do not use them. */
const FOREIGN = [-1, -2, 3];
const PLAIN: ReadonlySet<number> = new Set([VERDICT.accept, VERDICT.drop, VERDICT.return, ...FOREIGN]);

/** Checks a value of exactly `length` bytes or, without `length`, of at most `size`. Throws `Refusal`. */
export function checkValue(data: NftData | undefined, length?: number, size = LONGEST_VALUE): Uint8Array {
  const value = required(required(data).value);
  if (value.length === 0) throw new Refusal("EINVAL");
  if (value.length > size) throw new Refusal("EOVERFLOW");
  if (length !== undefined && value.length !== length) throw new Refusal("EINVAL");
  return value;
}

/** Checks a verdict: the target of a jump must exist and must not be a base chain. Throws `Refusal`. */
export function checkVerdict(data: NftData | undefined, table: TableState): void {
  const verdict = required(required(data).verdict);
  const code = required(verdict.code) | 0;
  if (code === VERDICT.jump || code === VERDICT.goto) {
    if (chainByName(table, verdict.chain).base !== undefined) throw new Refusal("EOPNOTSUPP");
  } else if (!PLAIN.has(code)) {
    throw new Refusal("EINVAL");
  }
}

/** The chain to which a verdict jumps, if any. */
export function targetOf(data: NftData | undefined): string | undefined {
  return data?.verdict?.chain;
}
