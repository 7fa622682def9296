/**
 * Evaluates a rule of nf_tables for a packet, as far as its expressions and the packet are known. If something unknown
 * decides, the rule may match, and the report says so. A rule with a random number (`numgen`) is evaluated once for
 * each number.
 */

import { type Address, addressFromBytes } from "../ip/address.ts";
import {
  type Expression,
  NFPROTO,
  NFT_CMP,
  NFT_FIB_FLAG,
  NFT_FIB_RESULT,
  NFT_LOOKUP_F_INV,
  NFT_NAT,
  NFT_NG_RANDOM,
  NFT_REG,
  type SetElement,
  VERDICT,
} from "../netlink/nftables.ts";
import { compare, findElement } from "./find-element.ts";
import { conntrackOf, hostOrder, type Known, metaOf, type Packet, payloadOf, unknown } from "./packet.ts";
import { Registers } from "./registers.ts";
import type { Scratch } from "./scratch.ts";

export type Action = "accept" | "drop" | "reject" | "return" | "masquerade" | "snat" | "dnat" | "redirect";

/** The new address and port of a translated packet; undefined: unknown or unchanged. */
export interface Target {
  readonly address: Address | undefined;
  readonly port: number | undefined;
}

export interface Deed {
  /** False if it is unknown whether the rule matches; the packet may then continue after it. */
  readonly isSure: boolean;
  /** The chain to evaluate next. Unless `isGoto`, evaluation returns to this chain afterwards. */
  readonly to: { readonly chain: string; readonly isGoto: boolean } | undefined;
  readonly action: Action | undefined;
  /** The new destination or source, for `dnat` and `snat`. */
  readonly target: Target | undefined;
}

/** One possible result of a rule. */
export interface Outcome {
  /** The probabilities of all outcomes of a rule add up to 1. */
  readonly probability: number;
  /** Undefined if the packet continues with the next rule. */
  readonly deed: Deed | undefined;
}

/** The sets and maps of the rule's table. */
export interface Sets {
  /** Undefined if the elements are not available. */
  all(set: string): readonly SetElement[] | undefined;
  /**
   * The element whose key is the beginning of `registers`; null if there is none; undefined if the caller must read the
   * full set instead.
   */
  one?(set: string, registers: Known): SetElement | null | undefined;
}

const XT_PORTS: ReadonlySet<string> = new Set(["tcp", "udp"]);
/**
 * Expressions without a condition: the rule continues for every packet. `dynset`, which changes a set, is one of them.
 */
const PASSES: ReadonlySet<string> = new Set(["counter", "log", "notrack", "last", "dynset"]);
/** If `numgen` has more numbers than this, the result is unknown. */
const MOST_NUMBERS = 65_536;

/** True, false, or unknown. */
type Truth = boolean | undefined;

/** The possible results of the rule, usually one. Stores values that the rule writes into the packet in `scratch`. */
export function outcomesOf(
  expressions: readonly Expression[],
  packet: Packet,
  scratch: Scratch,
  sets: Sets,
): readonly Outcome[] {
  return new Run(packet, scratch, sets).carryOut(expressions, 1);
}

class Run {
  readonly #packet: Packet;
  readonly #scratch: Scratch;
  readonly #sets: Sets;
  readonly #registers: Registers;
  #isSure: boolean;

  constructor(packet: Packet, scratch: Scratch, sets: Sets, registers = new Registers(), isSure = true) {
    this.#packet = packet;
    this.#scratch = scratch;
    this.#sets = sets;
    this.#registers = registers;
    this.#isSure = isSure;
  }

  carryOut(expressions: readonly Expression[], probability: number): readonly Outcome[] {
    for (const [at, expression] of expressions.entries()) {
      const numbers = numbersOf(expression);
      if (numbers !== undefined) return this.#draw(numbers, expressions.slice(at + 1), probability);
      const outcome = this.#do(expression);
      if (outcome === false) return [{ probability, deed: undefined }];
      if (outcome === undefined) this.#isSure = false;
      else if (outcome !== true) {
        const nothing = { to: undefined, action: undefined, target: undefined };
        return [{ probability, deed: { isSure: this.#isSure, ...nothing, ...outcome } }];
      }
    }
    return [{ probability, deed: undefined }];
  }

  #draw({ dreg, first, count }: Numbers, rest: readonly Expression[], probability: number): readonly Outcome[] {
    return Array.from({ length: count }, (_, at) => {
      const registers = this.#registers.copy();
      registers.set(dreg, hostOrder(first + at));
      const run = new Run(this.#packet, this.#scratch, this.#sets, registers, this.#isSure);
      return this.#scratch.tentatively(count > 1, () => run.carryOut(rest, probability / count));
    }).flat();
  }

  /** A deed ends the rule. False: the expression does not match. Undefined: unknown. */
  #do(expression: Expression): Truth | Partial<Deed> {
    switch (expression.kind) {
      case "payload": {
        const { dreg, base, offset = 0, length = 0 } = expression.data ?? {};
        // Without a destination register the expression changes the packet, which no later filter rule reads.
        if (dreg === undefined || base === undefined) return true;
        return this.#set(dreg, payloadOf(this.#packet, base, offset, length));
      }
      case "meta": {
        const { dreg, sreg, key = 0 } = expression.data ?? {};
        if (dreg !== undefined) return this.#set(dreg, this.#scratch.get(key) ?? metaOf(this.#packet, key));
        const write = () => this.#scratch.set(key, this.#registers.get(sreg ?? NFT_REG.r1, 4));
        if (sreg !== undefined) this.#scratch.tentatively(!this.#isSure, write);
        return true;
      }
      case "ct": {
        const { dreg, key = 0 } = expression.data ?? {};
        return dreg === undefined ? true : this.#set(dreg, conntrackOf(this.#packet, key));
      }
      case "fib":
        return this.#fib(expression.data ?? {});
      case "bitwise":
        return this.#bitwise(expression.data ?? {});
      case "cmp":
        return this.#compare(expression.data ?? {});
      case "lookup":
        return this.#lookup(expression.data ?? {});
      case "immediate":
        return this.#immediate(expression.data ?? {});
      case "numgen":
        return expression.data?.dreg === undefined ? undefined : this.#set(expression.data.dreg, unknown(4));
      case "masq":
        return { action: "masquerade" };
      case "nat":
        return this.#translate(expression.data ?? {});
      case "match":
        return this.#match(expression.data ?? {});
      case "target":
        return targetOf(expression.data?.name ?? "");
      default:
        return otherOf(expression.kind);
    }
  }

  #set(register: number, value: Known): true {
    this.#registers.set(register, value);
    return true;
  }

  #fib({ dreg, result, flags = 0 }: DataOf<"fib">): Truth {
    if (dreg === undefined) return undefined;
    const { sourceType, destinationType } = this.#packet;
    const type = (flags & NFT_FIB_FLAG.daddr) !== 0 ? destinationType : sourceType;
    const isKnown = result === NFT_FIB_RESULT.addrtype && type !== undefined;
    return this.#set(dreg, isKnown ? hostOrder(type) : unknown(16));
  }

  #bitwise({ sreg, dreg, length = 0, mask, xor, op = 0 }: DataOf<"bitwise">): Truth {
    if (sreg === undefined || dreg === undefined) return undefined;
    const value = this.#registers.get(sreg, length);
    const isMask = op === 0 && mask?.value !== undefined && xor?.value !== undefined;
    if (!isMask) return this.#set(dreg, unknown(length));
    return this.#set(
      dreg,
      value.map((byte, at) => {
        const [kept = 0, flipped = 0] = [mask.value?.[at], xor.value?.[at]];
        return kept === 0 ? flipped : byte === undefined ? undefined : (byte & kept) ^ flipped;
      }),
    );
  }

  #compare({ sreg, op, data }: DataOf<"cmp">): Truth {
    const value = data?.value;
    if (sreg === undefined || value === undefined) return undefined;
    const order = compare(this.#registers.get(sreg, value.length), value);
    if (order === undefined) return undefined;
    switch (op) {
      case NFT_CMP.eq:
        return order === 0;
      case NFT_CMP.neq:
        return order !== 0;
      case NFT_CMP.lt:
        return order < 0;
      case NFT_CMP.lte:
        return order <= 0;
      case NFT_CMP.gt:
        return order > 0;
      default:
        return order >= 0;
    }
  }

  #lookup({ set, sreg, dreg, flags = 0 }: DataOf<"lookup">): Truth | Partial<Deed> {
    const found = set === undefined || sreg === undefined ? undefined : this.#find(set, sreg);
    if (found === undefined) {
      if (dreg !== undefined && dreg !== NFT_REG.verdict) this.#set(dreg, unknown(16));
      return undefined;
    }
    const isIn = found !== null;
    if (dreg === undefined) return isIn !== ((flags & NFT_LOOKUP_F_INV) !== 0);
    if (!isIn) return false;
    const verdict = found.data?.verdict;
    if (verdict?.code !== undefined) return deedOfVerdict(verdict.code, verdict.chain);
    return this.#set(dreg, [...(found.data?.value ?? unknown(16))]);
  }

  /** Null if there is none; undefined if it is unknown. */
  #find(set: string, sreg: number): SetElement | null | undefined {
    const single = this.#sets.one?.(set, this.#registers.from(sreg));
    if (single !== undefined) return single;
    const elements = this.#sets.all(set);
    if (elements === undefined) return undefined;
    const length = elements[0]?.key?.value?.length ?? 0;
    return findElement(elements, this.#registers.get(sreg, length), this.#registers.fieldStarts(sreg, length));
  }

  #immediate({ dreg, data }: DataOf<"immediate">): Truth | Partial<Deed> {
    const code = data?.verdict?.code;
    if (code !== undefined) return deedOfVerdict(code, data?.verdict?.chain);
    return dreg === undefined ? undefined : this.#set(dreg, [...(data?.value ?? [])]);
  }

  #translate({ type, family, addressMin, portMin }: DataOf<"nat">): Partial<Deed> {
    const address = addressMin === undefined ? [] : this.#registers.get(addressMin, family === NFPROTO.ip6 ? 16 : 4);
    const port = portMin === undefined ? [] : this.#registers.get(portMin, 2);
    return {
      action: type === NFT_NAT.snat ? "snat" : "dnat",
      target: { address: knownAddress(address), port: knownPort(port) },
    };
  }

  /**
   * Evaluates xtables extensions: `comment` has no effect, and xt_tcp and xt_udp have the ports at the same offsets.
   */
  #match({ name = "", info }: DataOf<"match">): Truth {
    if (name === "comment") return true;
    if (!XT_PORTS.has(name) || info === undefined) return undefined;
    const { destinationPort } = this.#packet;
    const [from, to] = [hostShort(info, 4), hostShort(info, 6)];
    const sourceIsAny = hostShort(info, 0) === 0 && hostShort(info, 2) === 0xffff;
    const flagsAt = name === "tcp" ? 11 : 8;
    const inverted = info[flagsAt] ?? 0;
    const isAny = from === 0 && to === 0xffff;
    if (inverted !== 0) return undefined;
    if (!isAny && destinationPort === undefined) return undefined;
    if (!isAny && (Number(destinationPort) < from || Number(destinationPort) > to)) return false;
    return sourceIsAny ? true : undefined;
  }
}

type DataOf<K extends Expression["kind"]> = NonNullable<Extract<Expression, { kind: K }>["data"]>;

interface Numbers {
  readonly dreg: number;
  readonly first: number;
  readonly count: number;
}

/** The numbers of a random `numgen`. Undefined if the expression is another one, counts up, or has too many numbers. */
function numbersOf(expression: Expression): Numbers | undefined {
  if (expression.kind !== "numgen") return undefined;
  const { dreg, modulus = 0, offset: first = 0, type } = expression.data ?? {};
  if (dreg === undefined || type !== NFT_NG_RANDOM || modulus < 1 || modulus > MOST_NUMBERS) return undefined;
  return { dreg, first, count: modulus };
}

function knownAddress(bytes: Known): Address | undefined {
  if (bytes.length === 0 || bytes.includes(undefined)) return undefined;
  return addressFromBytes(Uint8Array.from(bytes as readonly number[]));
}

function knownPort([high, low]: Known): number | undefined {
  return high === undefined || low === undefined ? undefined : (high << 8) | low;
}

function hostShort(bytes: Uint8Array, at: number): number {
  return (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8);
}

function deedOfVerdict(code: number, chain: string | undefined): true | Partial<Deed> {
  switch (code | 0) {
    case VERDICT.drop:
      return { action: "drop" };
    case VERDICT.accept:
      return { action: "accept" };
    case VERDICT.return:
      return { action: "return" };
    case VERDICT.jump:
      return { to: { chain: chain ?? "", isGoto: false } };
    case VERDICT.goto:
      return { to: { chain: chain ?? "", isGoto: true } };
    // NFT_CONTINUE
    default:
      return true;
  }
}

function targetOf(name: string): Truth | Partial<Deed> {
  switch (name) {
    case "REJECT":
      return { action: "reject" };
    case "MASQUERADE":
      return { action: "masquerade" };
    case "SNAT":
      return { action: "snat" };
    case "DNAT":
      return { action: "dnat" };
    case "REDIRECT":
      return { action: "redirect" };
    // LOG, MARK and similar targets do not change the verdict. Marks set by xtables targets are not tracked.
    default:
      return true;
  }
}

/** Expressions outside weft's attribute tables are recognised by name. */
function otherOf(kind: string): Truth | Partial<Deed> {
  if (PASSES.has(kind)) return true;
  if (kind === "reject") return { action: "reject" };
  if (kind === "redir") return { action: "redirect" };
  return undefined;
}
