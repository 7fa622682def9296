/**
 * The checks of expressions that the kernel makes while parsing. The kernel parses all expressions of a rule before it
 * initialises the first one. The checks cover unknown kinds, attribute policies, and the selection among variants of a
 * kind (`select_ops` in net/netfilter/nft_*.c).
 */
import {
  type Expression,
  NFPROTO,
  NFT_CMP,
  NFT_FIB_FLAG,
  NFT_LOOKUP_F_INV,
  NFT_PAYLOAD_BASE,
} from "../../netlink/nftables.ts";
import { checkValue } from "./data.ts";
import { parseLimit, parseLog } from "./log-expressions.ts";
import { Refusal, required } from "./refusal.ts";

/** struct nft_data */
export const DATA_BYTES = 16;
/** NFTA_FIB_F_SADDR, _DADDR, _MARK, _IIF, _OIF, _PRESENT */
const FIB_FLAGS = 0x3f;
export const FIB_ADDRESS = NFT_FIB_FLAG.saddr | NFT_FIB_FLAG.daddr;
/** NF_NAT_RANGE_MASK */
const NAT_FLAGS = 0x7f;
const INET_FAMILIES: readonly number[] = [NFPROTO.ip, NFPROTO.ip6, NFPROTO.inet];

/** Throws `Refusal`. */
export function parseExpression(expression: Expression, family: number): void {
  switch (expression.kind) {
    case "cmp": {
      const { sreg, op, data } = expression.data ?? {};
      required(sreg);
      if (required(op) > NFT_CMP.gte) throw new Refusal("EINVAL");
      checkValue(data, undefined, DATA_BYTES);
      break;
    }
    case "bitwise": {
      const { sreg, dreg, length, op = 0 } = expression.data ?? {};
      for (const each of [sreg, dreg, length]) required(each);
      if (op !== 0) throw new Error(`the fake nftables does not support bitwise operation ${op}`);
      assertByte(length);
      break;
    }
    case "lookup":
      assertFlags(expression.data?.flags, NFT_LOOKUP_F_INV);
      break;
    case "payload": {
      const { dreg, base, offset, length } = expression.data ?? {};
      for (const each of [base, offset, length]) required(each);
      if (required(base) > NFT_PAYLOAD_BASE.transport)
        throw new Error(`the fake nftables does not support payload base ${base}`);
      required(dreg);
      for (const each of [offset, length]) assertByte(each);
      break;
    }
    case "meta":
    case "ct": {
      const { dreg, sreg, key } = expression.data ?? {};
      required(key);
      if ((dreg === undefined) === (sreg === undefined)) throw new Refusal("EINVAL");
      break;
    }
    case "log":
      parseLog(expression.data ?? {});
      break;
    case "limit":
      parseLimit(expression.data ?? {});
      break;
    case "fib":
      assertHasKind(family);
      assertFlags(expression.data?.flags, FIB_FLAGS);
      break;
    case "nat":
    case "masq":
      assertHasKind(family);
      assertFlags(expression.data?.flags, NAT_FLAGS);
  }
}

function assertHasKind(family: number): void {
  if (!INET_FAMILIES.includes(family)) throw new Refusal("ENOENT");
}

function assertFlags(flags: number | undefined, known: number): void {
  if (((flags ?? 0) & ~known) !== 0) throw new Refusal("EINVAL");
}

function assertByte(number: number | undefined): void {
  if ((number ?? 0) > 0xff) throw new Refusal("ERANGE");
}
