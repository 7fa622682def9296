/**
 * The checks of expressions that the kernel makes when it initialises them (`init` in net/netfilter/nft_*.c), and the
 * form of expressions in dumps. Expressions and attributes that weft's codec does not support are stored as bytes,
 * without checks.
 */
import { ByteWriter } from "../../netlink/bytes.ts";
import { eachAttribute } from "../../netlink/codec.ts";
import {
  type Expression,
  expressionList,
  NF_NAT_RANGE,
  NFPROTO,
  NFT_CT,
  NFT_FIB_RESULT,
  NFT_META,
  NFT_NAT,
  NFT_REG,
  NFT_SET,
} from "../../netlink/nftables.ts";
import { checkValue, checkVerdict } from "./data.ts";
import { setByName } from "./draft.ts";
import { DATA_BYTES, FIB_ADDRESS, parseExpression } from "./expression-parse.ts";
import { limit, log } from "./log-expressions.ts";
import { type Data, dynset, hash, numgen, reject, type Scope } from "./number-expressions.ts";
import { Refusal, required } from "./refusal.ts";
import { dumpedRegister, Registers } from "./registers.ts";
import type { RuleState, TableState } from "./state.ts";

/** NFT_RULE_MAXEXPRS */
const MOST_EXPRESSIONS = 128;
/** struct nlattr */
const ATTRIBUTE_HEADER = 4;

/** Parses the payload of NFTA_RULE_EXPRESSIONS. Throws `Refusal`. */
export function readExpressions(raw: Uint8Array, table: TableState): Pick<RuleState, "expressions" | "encoded"> {
  const parsed: { readonly expression: Expression; readonly element: Uint8Array }[] = [];
  eachAttribute(raw, (_type, start, end) => {
    if (parsed.length === MOST_EXPRESSIONS) throw new Refusal("ENOMEM");
    const element = raw.subarray(start - ATTRIBUTE_HEADER, end);
    const [expression] = expressionList.read(element);
    if (expression === undefined) throw new Refusal("EINVAL");
    if (!isOpaque(expression)) parseExpression(expression, table.family);
    parsed.push({ expression, element });
  });
  const scope = { table, registers: new Registers() };
  const encoded = new ByteWriter();
  const expressions = parsed.map(({ expression, element }) => {
    const dumped = isOpaque(expression) ? undefined : initialised(expression, scope);
    if (dumped !== undefined) {
      expressionList.write(encoded, [dumped]);
      return dumped;
    }
    encoded.bytes(element);
    encoded.align4();
    return expression;
  });
  return { expressions, encoded: encoded.finish() };
}

function isOpaque({ data }: Expression): boolean {
  return data instanceof Uint8Array || (data?.unknown?.length ?? 0) > 0;
}

/** The expression as the kernel dumps it; undefined if it is stored as bytes. */
function initialised(expression: Expression, scope: Scope): Expression | undefined {
  switch (expression.kind) {
    case "immediate":
      return { kind: "immediate", data: immediate(expression.data ?? {}, scope) };
    case "cmp":
      return { kind: "cmp", data: cmp(expression.data ?? {}, scope) };
    case "bitwise":
      return { kind: "bitwise", data: bitwise(expression.data ?? {}, scope) };
    case "lookup":
      return { kind: "lookup", data: lookup(expression.data ?? {}, scope) };
    case "payload":
      return { kind: "payload", data: payload(expression.data ?? {}, scope) };
    case "meta":
      return { kind: "meta", data: meta(expression.data ?? {}, scope) };
    case "ct":
      return { kind: "ct", data: ct(expression.data ?? {}, scope) };
    case "fib":
      return { kind: "fib", data: fib(expression.data ?? {}, scope) };
    case "nat":
      return { kind: "nat", data: nat(expression.data ?? {}, scope) };
    case "masq":
      return { kind: "masq", data: masq(expression.data ?? {}) };
    case "counter": {
      const { bytes = 0n, packets = 0n } = expression.data ?? {};
      return { kind: "counter", data: { bytes, packets } };
    }
    case "numgen":
      return { kind: "numgen", data: numgen(expression.data ?? {}, scope) };
    case "hash":
      return { kind: "hash", data: hash(expression.data ?? {}, scope) };
    case "reject":
      return { kind: "reject", data: reject(expression.data ?? {}) };
    case "log":
      return { kind: "log", data: log(expression.data ?? {}) };
    case "limit":
      return { kind: "limit", data: limit(expression.data ?? {}) };
    case "dynset":
      return { kind: "dynset", data: dynset(expression.data ?? {}, scope) };
    default:
      return undefined;
  }
}

function immediate({ dreg, data }: Data<"immediate">, { table, registers }: Scope): Data<"immediate"> {
  const register = required(dreg);
  if (register === NFT_REG.verdict) {
    checkVerdict(data, table);
    return { dreg: register, data };
  }
  registers.store(register, checkValue(data, undefined, DATA_BYTES).length);
  return { dreg: dumpedRegister(register), data };
}

function cmp({ sreg, op, data }: Data<"cmp">, { registers }: Scope): Data<"cmp"> {
  const register = required(sreg);
  registers.load(register, checkValue(data, undefined, DATA_BYTES).length);
  return { sreg: dumpedRegister(register), op, data };
}

function bitwise({ sreg, dreg, length, mask, xor, op = 0 }: Data<"bitwise">, { registers }: Scope): Data<"bitwise"> {
  const [source, target, bytes] = [required(sreg), required(dreg), required(length)];
  registers.load(source, bytes);
  registers.store(target, bytes);
  for (const each of [mask, xor]) checkValue(each, bytes, DATA_BYTES);
  return { sreg: dumpedRegister(source), dreg: dumpedRegister(target), length, op, mask, xor };
}

function lookup(data: Data<"lookup">, { table, registers }: Scope): Data<"lookup"> {
  const { sreg, dreg, flags = 0 } = data;
  const name = required(data.set);
  const register = required(sreg);
  const set = setByName(table, name);
  registers.load(register, set.keyLength);
  const isMap = (set.flags & NFT_SET.map) !== 0;
  if (flags !== 0 && isMap) throw new Refusal("EINVAL");
  if (dreg !== undefined) {
    if (!isMap) throw new Refusal("EINVAL");
    const isVerdictMap = set.dataLength === undefined;
    if (isVerdictMap !== (dreg === NFT_REG.verdict)) throw new Refusal("EINVAL");
    if (!isVerdictMap) registers.store(dreg, set.dataLength ?? 0);
  } else if (isMap) {
    // As in Linux 6.1; Linux 6.18 accepts it.
    throw new Refusal("EINVAL");
  }
  return { set: name, sreg: dumpedRegister(register), dreg: dumpedRegister(dreg), flags };
}

function payload({ dreg, base, offset, length }: Data<"payload">, { registers }: Scope): Data<"payload"> {
  const register = required(dreg);
  registers.store(register, required(length));
  return { dreg: dumpedRegister(register), base, offset, length };
}

const META_LENGTH: Readonly<Record<number, number>> = {
  [NFT_META.length]: 4,
  [NFT_META.protocol]: 2,
  [NFT_META.packetPriority]: 4,
  [NFT_META.mark]: 4,
  [NFT_META.iif]: 4,
  [NFT_META.oif]: 4,
  [NFT_META.iifname]: 16,
  [NFT_META.oifname]: 16,
  [NFT_META.nfproto]: 1,
  [NFT_META.l4proto]: 1,
};

function meta({ dreg, sreg, key }: Data<"meta">, { registers }: Scope): Data<"meta"> {
  const number = required(key);
  const length = META_LENGTH[number];
  if (length === undefined) throw new Error(`the fake nftables does not support meta key ${number}`);
  if (dreg !== undefined) registers.store(dreg, length);
  if (sreg !== undefined) {
    if (number !== NFT_META.mark && number !== NFT_META.packetPriority) throw new Refusal("EOPNOTSUPP");
    registers.load(sreg, length);
  }
  return { dreg: dumpedRegister(dreg), key, sreg: dumpedRegister(sreg) };
}

const CT_LENGTH: Readonly<Record<number, number>> = { [NFT_CT.state]: 4, [NFT_CT.direction]: 1, [NFT_CT.status]: 4 };
/** Keys that belong to one direction of the connection. */
const CT_TUPLE_LENGTH: Readonly<Record<number, number>> = {
  [NFT_CT.protocolDestination]: 2,
  [NFT_CT.destinationIpv4]: 4,
  [NFT_CT.destinationIpv6]: 16,
};
const CT_DIRECTIONS = 2;

function ct({ dreg, key, direction, sreg }: Data<"ct">, { registers }: Scope): Data<"ct"> {
  const tuple = CT_TUPLE_LENGTH[required(key)];
  const length = tuple ?? CT_LENGTH[required(key)];
  if (length === undefined || sreg !== undefined)
    throw new Error(`the fake nftables does not support this use of ct key ${key}`);
  const register = required(dreg);
  if ((tuple === undefined) !== (direction === undefined)) throw new Refusal("EINVAL");
  if (direction !== undefined && direction >= CT_DIRECTIONS) throw new Refusal("EINVAL");
  registers.store(register, length);
  return { dreg: dumpedRegister(register), key, ...(direction === undefined ? {} : { direction }) };
}

const FIB_LENGTH: Readonly<Record<number, number>> = {
  [NFT_FIB_RESULT.oif]: 4,
  [NFT_FIB_RESULT.oifname]: 16,
  [NFT_FIB_RESULT.addrtype]: 4,
};

function fib({ dreg, result, flags }: Data<"fib">, { registers }: Scope): Data<"fib"> {
  const [register, wanted, asked] = [required(dreg), required(result), required(flags)];
  const addresses = asked & FIB_ADDRESS;
  if (addresses === 0 || addresses === FIB_ADDRESS) throw new Refusal("EINVAL");
  registers.store(register, required(FIB_LENGTH[wanted]));
  return { dreg: dumpedRegister(register), result, flags };
}

const PORT_BYTES = 2;
const ADDRESS_BYTES: Readonly<Record<number, number>> = { [NFPROTO.ip]: 4, [NFPROTO.ip6]: 16 };

function nat(data: Data<"nat">, { table, registers }: Scope): Data<"nat"> {
  const { type, family, addressMin, addressMax = addressMin, portMin, portMax = portMin, flags = 0 } = data;
  if (addressMin === undefined && portMin === undefined) throw new Refusal("EINVAL");
  if (required(type) > NFT_NAT.dnat) throw new Refusal("EOPNOTSUPP");
  required(family);
  if (table.family !== NFPROTO.inet && family !== table.family) throw new Refusal("EOPNOTSUPP");
  const bytes = ADDRESS_BYTES[family ?? 0];
  if (bytes === undefined) throw new Error(`the fake nftables does not translate addresses of family ${family}`);
  for (const register of [addressMin, addressMax]) if (register !== undefined) registers.load(register, bytes);
  for (const register of [portMin, portMax]) if (register !== undefined) registers.load(register, PORT_BYTES);
  const implied =
    (addressMin === undefined ? 0 : NF_NAT_RANGE.mapIps) | (portMin === undefined ? 0 : NF_NAT_RANGE.protoSpecified);
  return {
    ...{ type, family, addressMin: dumpedRegister(addressMin), addressMax: dumpedRegister(addressMax) },
    ...{ portMin: dumpedRegister(portMin), portMax: dumpedRegister(portMax), flags: flags | implied },
  };
}

function masq({ flags = 0 }: Data<"masq">): Data<"masq"> {
  return flags === 0 ? {} : { flags };
}
