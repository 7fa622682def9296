/**
 * Expressions that generate random numbers, hash, reject packets and change sets: nft_numgen.c, nft_hash.c,
 * nft_reject_inet.c, nft_dynset.c.
 */
import {
  type Expression,
  NFT_DYNSET_OP,
  NFT_HASH_JENKINS,
  NFT_NG_RANDOM,
  NFT_REJECT_ICMPX,
  NFT_SET,
} from "../../netlink/nftables.ts";
import { setByName } from "./draft.ts";
import { Refusal, required } from "./refusal.ts";
import { dumpedRegister, type Registers } from "./registers.ts";
import type { TableState } from "./state.ts";

export interface Scope {
  readonly table: TableState;
  readonly registers: Registers;
}

export type Data<K extends Expression["kind"]> = NonNullable<Extract<Expression, { readonly kind: K }>["data"]>;

const NUMBER_BYTES = 4;
const LARGEST_NUMBER = 0xffff_ffff;

function assertRange(modulus: number, offset: number): void {
  if (modulus === 0) throw new Refusal("ERANGE");
  if (offset + modulus - 1 > LARGEST_NUMBER) throw new Refusal("EOVERFLOW");
}

export function numgen(data: Data<"numgen">, { registers }: Scope): Data<"numgen"> {
  const [dreg, modulus, type] = [required(data.dreg), required(data.modulus), required(data.type)];
  const { offset = 0 } = data;
  if (type > NFT_NG_RANDOM) throw new Refusal("EINVAL");
  assertRange(modulus, offset);
  registers.store(dreg, NUMBER_BYTES);
  return { dreg: dumpedRegister(dreg), modulus, type, offset };
}

export function hash(data: Data<"hash">, { registers }: Scope): Data<"hash"> {
  const { seed, offset = 0, type = NFT_HASH_JENKINS } = data;
  if (type !== NFT_HASH_JENKINS) throw new Error(`the fake nftables does not support hash type ${type}`);
  const [sreg, dreg, length, modulus] = [data.sreg, data.dreg, data.length, data.modulus].map(required) as [
    ...[number, number, number, number],
  ];
  if (length === 0 || length > 0xff) throw new Refusal("ERANGE");
  registers.load(sreg, length);
  assertRange(modulus, offset);
  registers.store(dreg, NUMBER_BYTES);
  const seeded = seed === undefined ? {} : { seed };
  const moved = offset === 0 ? {} : { offset };
  return { sreg: dumpedRegister(sreg), dreg: dumpedRegister(dreg), length, modulus, ...seeded, ...moved, type };
}

/** For `inet`: NFT_REJECT_ICMP_UNREACH with any code, and _ICMPX_UNREACH up to NFT_REJECT_ICMPX_MAX. */
const NFT_REJECT_TCP_RST = 1;
const LAST_ICMPX = 3;

export function reject({ type, code }: Data<"reject">): Data<"reject"> {
  const kind = required(type);
  if (kind > NFT_REJECT_ICMPX.unreachable) throw new Refusal("EINVAL");
  if (kind === NFT_REJECT_TCP_RST) return { type };
  if (kind === NFT_REJECT_ICMPX.unreachable && required(code) > LAST_ICMPX) throw new Refusal("EINVAL");
  return { type, code: required(code) };
}

export function dynset(data: Data<"dynset">, { table, registers }: Scope): Data<"dynset"> {
  const { sregData, timeout, flags = 0 } = data;
  const [name, op, sregKey] = [required(data.set), required(data.op), required(data.sregKey)];
  if (flags !== 0) throw new Error("the fake nftables does not support flags of dynset");
  const set = setByName(table, name);
  const has = (flag: number) => (set.flags & flag) !== 0;
  // Rules cannot change sets of ranges.
  if (has(NFT_SET.interval)) throw new Refusal("EOPNOTSUPP");
  if (has(NFT_SET.constant)) throw new Refusal("EBUSY");
  if (op > NFT_DYNSET_OP.delete) throw new Refusal("EOPNOTSUPP");
  if (timeout !== undefined && !has(NFT_SET.timeout)) throw new Refusal("EOPNOTSUPP");
  registers.load(sregKey, set.keyLength);
  if (sregData === undefined) {
    if (has(NFT_SET.map)) throw new Refusal("EINVAL");
  } else {
    // Sets and verdict maps do not accept data from registers.
    if (set.dataLength === undefined) throw new Refusal("EOPNOTSUPP");
    registers.load(sregData, set.dataLength);
  }
  return {
    ...{ set: name, op, sregKey: dumpedRegister(sregKey), sregData: dumpedRegister(sregData) },
    ...{ timeout: timeout ?? 0n, flags },
  };
}
