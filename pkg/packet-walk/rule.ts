/**
 * What a rule of nf_tables does with a packet: its expressions carried out, as far as they and the packet are known.
 * What is not known makes a rule one that may match, which its reader is told.
 */
import {
  type Expression,
  NFT_CMP,
  NFT_FIB_RESULT,
  NFT_LOOKUP_F_INV,
  NFT_NAT,
  NFT_REG,
  NFT_REG32_00,
  NFT_SET_ELEM_INTERVAL_END,
  type SetElement,
  VERDICT,
} from "../netlink/nftables.ts";
import { conntrackOf, hostOrder, type Known, metaOf, type Packet, payloadOf, unknown } from "./packet.ts";

export type Action = "accept" | "drop" | "return" | "masquerade" | "snat" | "dnat" | "redirect";

export interface Deed {
  /** False: something of the rule could not be told, and the packet may go past it. */
  readonly isSure: boolean;
  /** Another chain is asked, and, unless `isGoto`, this one again behind it. */
  readonly to: { readonly chain: string; readonly isGoto: boolean } | undefined;
  readonly action: Action | undefined;
}

/** The elements of a set of the rule's table; undefined where they cannot be had. */
export type Elements = (set: string) => readonly SetElement[] | undefined;

/** Registers as bytes: sixteen words of four (NFT_REG32_00 to _15), the first four 16-byte ones over them. */
const REGISTER_BYTES = 64;
const WORD_BYTES = 4;
const XT_PORTS: ReadonlySet<string> = new Set(["tcp", "udp"]);
/** Let every packet go on. */
const PASSES: ReadonlySet<string> = new Set(["counter", "log", "notrack", "last"]);

function offsetOf(register: number): number {
  return register >= NFT_REG32_00 ? (register - NFT_REG32_00) * 4 : (register - NFT_REG.r1) * 16;
}

/** True, false, or not to be told. */
type Truth = boolean | undefined;

/** What the rule does with the packet; undefined where the packet goes on to the next one in any case. */
export function deedOf(expressions: readonly Expression[], packet: Packet, elements: Elements): Deed | undefined {
  return new Run(packet, elements).carryOut(expressions);
}

class Run {
  readonly #packet: Packet;
  readonly #elements: Elements;
  readonly #registers: (number | undefined)[] = new Array<number | undefined>(REGISTER_BYTES).fill(undefined);
  /** Where values were loaded: a row of them is a key of several fields. */
  readonly #fieldStarts = new Set<number>();
  #mark: Known | undefined;
  #isSure = true;

  constructor(packet: Packet, elements: Elements) {
    this.#packet = packet;
    this.#elements = elements;
  }

  carryOut(expressions: readonly Expression[]): Deed | undefined {
    for (const expression of expressions) {
      const outcome = this.#do(expression);
      if (outcome === false) return undefined;
      if (outcome === undefined) this.#isSure = false;
      else if (outcome !== true) return { isSure: this.#isSure, to: undefined, action: undefined, ...outcome };
    }
    return undefined;
  }

  /** A deed ends the rule; false: it does not match; undefined: nobody knows. */
  #do(expression: Expression): Truth | Partial<Deed> {
    switch (expression.kind) {
      case "payload": {
        const { dreg, base, offset = 0, length = 0 } = expression.data ?? {};
        // Without a destination the packet itself is changed, which no rule of a filter asks about later.
        if (dreg === undefined || base === undefined) return true;
        return this.#set(dreg, payloadOf(this.#packet, base, offset, length));
      }
      case "meta": {
        const { dreg, sreg, key = 0 } = expression.data ?? {};
        if (dreg !== undefined) return this.#set(dreg, key === MARK ? this.#currentMark() : metaOf(this.#packet, key));
        if (key === MARK && sreg !== undefined) this.#mark = this.#get(sreg, 4);
        return true;
      }
      case "ct": {
        const { dreg, key = 0 } = expression.data ?? {};
        return dreg === undefined ? true : this.#set(dreg, conntrackOf(key));
      }
      case "fib": {
        const { dreg, result, flags = 0 } = expression.data ?? {};
        const isType = result === NFT_FIB_RESULT.addrtype && (flags & FIB_DADDR) !== 0;
        if (dreg === undefined) return undefined;
        return this.#set(dreg, isType ? hostOrder(this.#packet.destinationType) : unknown(16));
      }
      case "bitwise":
        return this.#bitwise(expression.data ?? {});
      case "cmp":
        return this.#compare(expression.data ?? {});
      case "lookup":
        return this.#lookup(expression.data ?? {});
      case "immediate":
        return this.#immediate(expression.data ?? {});
      case "masq":
        return { action: "masquerade" };
      case "nat":
        return { action: expression.data?.type === NFT_NAT.snat ? "snat" : "dnat" };
      case "match":
        return this.#match(expression.data ?? {});
      case "target":
        return targetOf(expression.data?.name ?? "");
      default:
        return otherOf(expression.kind);
    }
  }

  #currentMark(): Known {
    return this.#mark ?? metaOf(this.#packet, MARK);
  }

  /** As the kernel does, fills the last word of four bytes up with zeros. */
  #set(register: number, value: Known): true {
    const start = offsetOf(register);
    const length = Math.ceil(value.length / WORD_BYTES) * WORD_BYTES;
    for (let at = 0; at < length; at++) this.#registers[start + at] = at < value.length ? value[at] : 0;
    this.#fieldStarts.add(start);
    return true;
  }

  #get(register: number, length: number): Known {
    return this.#registers.slice(offsetOf(register), offsetOf(register) + length);
  }

  #bitwise({ sreg, dreg, length = 0, mask, xor, op = 0 }: DataOf<"bitwise">): Truth {
    if (sreg === undefined || dreg === undefined) return undefined;
    const value = this.#get(sreg, length);
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
    const order = compare(this.#get(sreg, value.length), value);
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
    const elements = set === undefined ? undefined : this.#elements(set);
    if (elements === undefined || sreg === undefined) {
      if (dreg !== undefined && dreg !== NFT_REG.verdict) this.#set(dreg, unknown(16));
      return undefined;
    }
    const length = elements[0]?.key?.value?.length ?? 0;
    const start = offsetOf(sreg);
    const starts = [...this.#fieldStarts].map((at) => at - start).filter((at) => at > 0 && at < length);
    const found = findElement(elements, this.#get(sreg, length), starts);
    if (found === undefined) return undefined;
    const isIn = found !== null;
    if (dreg === undefined) return isIn !== ((flags & NFT_LOOKUP_F_INV) !== 0);
    if (!isIn) return false;
    const verdict = found.data?.verdict;
    if (verdict?.code !== undefined) return deedOfVerdict(verdict.code, verdict.chain);
    return this.#set(dreg, [...(found.data?.value ?? unknown(16))]);
  }

  #immediate({ dreg, data }: DataOf<"immediate">): Truth | Partial<Deed> {
    const code = data?.verdict?.code;
    if (code !== undefined) return deedOfVerdict(code, data?.verdict?.chain);
    return dreg === undefined ? undefined : this.#set(dreg, [...(data?.value ?? [])]);
  }

  /** Extensions of xtables: comments say nothing, and ports stand in xt_tcp and xt_udp at the same place. */
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

const MARK = 3;
const FIB_DADDR = 2;

type DataOf<K extends Expression["kind"]> = NonNullable<Extract<Expression, { kind: K }>["data"]>;

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
      return { action: "drop" };
    case "MASQUERADE":
      return { action: "masquerade" };
    case "SNAT":
      return { action: "snat" };
    case "DNAT":
      return { action: "dnat" };
    case "REDIRECT":
      return { action: "redirect" };
    // LOG, MARK and their like change nothing about the way, marks apart, which are not followed here.
    default:
      return true;
  }
}

/** Expressions that weft never writes are known by their names. */
function otherOf(kind: string): Truth | Partial<Deed> {
  if (PASSES.has(kind)) return true;
  if (kind === "reject") return { action: "drop" };
  if (kind === "redir") return { action: "redirect" };
  return undefined;
}

/** Less than, equal to or greater than zero; undefined where what is known does not decide it. */
function compare(value: Known, other: Uint8Array): number | undefined {
  let isCertain = true;
  for (const [at, wanted] of other.entries()) {
    const byte = value[at];
    if (byte === undefined) isCertain = false;
    else if (byte !== wanted) return isCertain ? byte - wanted : undefined;
  }
  return isCertain ? 0 : undefined;
}

/** The element that holds `key`, null for none, undefined where that is not to be told. */
function findElement(
  elements: readonly SetElement[],
  key: Known,
  fieldStarts: readonly number[],
): SetElement | null | undefined {
  const isInterval = elements.some(({ flags = 0, keyEnd }) => (flags & NFT_SET_ELEM_INTERVAL_END) !== 0 || keyEnd);
  if (!isInterval) return findExact(elements, key);
  if (elements.some(({ keyEnd }) => keyEnd !== undefined)) return findRange(elements, key, fieldStarts);
  const ends = [...elements].sort((a, b) => order(a, b));
  let last: SetElement | null = null;
  for (const element of ends) {
    const comparison = compare(key, element.key?.value ?? new Uint8Array());
    if (comparison === undefined) return undefined;
    if (comparison < 0) break;
    last = element;
  }
  return last === null || ((last.flags ?? 0) & NFT_SET_ELEM_INTERVAL_END) !== 0 ? null : last;
}

/** Where one range ends and the next begins, the beginning counts. */
function order(a: SetElement, b: SetElement): number {
  const [left, right] = [a.key?.value ?? new Uint8Array(), b.key?.value ?? new Uint8Array()];
  const difference = compare([...left], right) ?? 0;
  return difference !== 0 ? difference : (b.flags ?? 0) - (a.flags ?? 0);
}

function findExact(elements: readonly SetElement[], key: Known): SetElement | null | undefined {
  let isCertain = true;
  for (const element of elements) {
    const value = element.key?.value;
    if (value === undefined) continue;
    const isKnownToDiffer = [...value].some((byte, at) => key[at] !== undefined && key[at] !== byte);
    if (isKnownToDiffer) continue;
    if (key.slice(0, value.length).every((byte) => byte !== undefined)) return element;
    isCertain = false;
  }
  return isCertain ? null : undefined;
}

/** Concatenations of ranges: each field is within its own. */
function findRange(
  elements: readonly SetElement[],
  key: Known,
  fieldStarts: readonly number[],
): SetElement | null | undefined {
  if (key.some((byte) => byte === undefined)) return undefined;
  const starts = [0, ...[...fieldStarts].sort((a, b) => a - b)];
  const fields = starts.map((start, at) => [start, starts[at + 1] ?? key.length] as const);
  const isWithin = ({ key: from, keyEnd }: SetElement) => {
    const [low, high] = [from?.value, keyEnd?.value ?? from?.value];
    if (low === undefined || high === undefined) return false;
    return fields.every(([start, end]) => {
      const value = key.slice(start, end);
      return (
        (compare(value, low.subarray(start, end)) ?? -1) >= 0 && (compare(value, high.subarray(start, end)) ?? 1) <= 0
      );
    });
  };
  return elements.find(isWithin) ?? null;
}
