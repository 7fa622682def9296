/**
 * Netlink payloads described as data: scalars, fixed structs, attribute tables, nests. One table defines the type, the
 * encoder and the decoder. Layout rules: include/uapi/linux/netlink.h (struct nlattr, NLA_ALIGNTO).
 */
import { ByteWriter, i32At, u16At, u32At, viewOf } from "./bytes.ts";

/** Writes a value, and reads it from exactly its own bytes. `read` throws `CodecError` if the length is wrong. */
export interface Codec<T> {
  /** The attribute carries NLA_F_NESTED. Strict parsing requires it on new attributes, nfnetlink on all. */
  readonly isNest?: boolean;
  write(to: ByteWriter, value: T): void;
  read(from: Uint8Array): T;
}

/**
 * A codec whose value always has `size` bytes, so it can be a field of a struct. It reads from within a longer array: in
 * QuickJS, creating a view or subarray costs more than reading from it.
 */
export interface FixedCodec<T> extends Codec<T> {
  readonly size: number;
  readAt(from: Uint8Array, at: number): T;
}

/** The type that a codec reads. A struct's `write` accepts a subset of it, because omitted fields are zero. */
export type ValueOf<C> = C extends { read(from: Uint8Array): infer T } ? T : never;

/** Bytes from the kernel, or a caller's value, that do not fit the table; `path` names the field. */
export class CodecError extends Error {
  readonly path: string;
  constructor(path: string, reason: string) {
    super(path === "" ? reason : `${path}: ${reason}`);
    this.name = "CodecError";
    this.path = path;
  }
}

/** Prepends `name` to the path of a `CodecError`; returns other errors unchanged. */
function named(name: string, error: unknown): unknown {
  if (!(error instanceof CodecError)) return error;
  const inner = error.path === "" ? error.message : error.message.slice(error.path.length + 2);
  return new CodecError(error.path === "" ? name : `${name}.${error.path}`, inner);
}

function within<T>(name: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw named(name, error);
  }
}

function fixed<T>(
  size: number,
  write: (to: ByteWriter, value: T) => void,
  readAt: (from: Uint8Array, at: number) => T,
): FixedCodec<T> {
  return {
    size,
    write,
    readAt,
    read(from) {
      if (from.length < size) throw new CodecError("", `${from.length} bytes, expected ${size}`);
      return readAt(from, 0);
    },
  };
}

export const u8 = fixed<number>(
  1,
  (to, value) => to.u8(value),
  (from, at) => from[at] as number,
);
/** Host byte order. */
export const u16 = fixed<number>(2, (to, value) => to.u16(value), u16At);
/** Host byte order. */
export const u32 = fixed<number>(4, (to, value) => to.u32(value), u32At);
/** Host byte order. */
export const i32 = fixed<number>(4, (to, value) => to.u32(value), i32At);
/** Host byte order. */
export const u64 = fixed<bigint>(
  8,
  (to, value) => to.u64(value),
  (from, at) => viewOf(from).getBigUint64(at, true),
);
/** Network byte order. */
export const be16 = fixed<number>(
  2,
  (to, value) => to.u16(value, false),
  (from, at) => ((from[at] as number) << 8) | (from[at + 1] as number),
);
/** Network byte order. */
export const be32 = fixed<number>(
  4,
  (to, value) => to.u32(value, false),
  (from, at) => ((be16.readAt(from, at) << 16) | be16.readAt(from, at + 2)) >>> 0,
);
/** Network byte order. */
export const be64 = fixed<bigint>(
  8,
  (to, value) => to.u64(value, false),
  (from, at) => viewOf(from).getBigUint64(at, false),
);

/** Raw bytes. `read` copies them, because receive buffers are reused. */
export const bytes: Codec<Uint8Array> = { write: (to, value) => to.bytes(value), read: (from) => from.slice() };

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** NUL-terminated text, like the kernel's NLA_NUL_STRING and NLA_STRING. */
export const cstring: Codec<string> = {
  write(to, value) {
    to.bytes(encoder.encode(value));
    to.u8(0);
  },
  read(from) {
    const end = from.indexOf(0);
    return decoder.decode(end < 0 ? from : from.subarray(0, end));
  },
};

/** An attribute without payload whose presence is its value (NLA_FLAG). */
export const flag: Codec<true> = { write: () => undefined, read: () => true };

type StructFields = Readonly<Record<string, FixedCodec<unknown>>>;
// biome-ignore lint/suspicious/noExplicitAny: codecs are invariant in their value, so a table of mixed codecs needs it
type AnyFixed = FixedCodec<any>;
export type StructOf<F extends Record<string, AnyFixed>> = { readonly [K in keyof F]: ValueOf<F[K]> };

/** A fixed C struct without implicit padding: padding is declared as fields. Omitted fields are written as zero. */
export function struct<F extends Record<string, AnyFixed>>(
  fields: F,
): FixedCodec<StructOf<F>> & { write(to: ByteWriter, value: Partial<StructOf<F>>): void } {
  const entries = Object.entries(fields as StructFields).map(([name, field]) => ({ name, field }));
  const size = entries.reduce((sum, { field }) => sum + field.size, 0);
  const write = (to: ByteWriter, value: Partial<StructOf<F>>): void => {
    let omitted = 0;
    for (let at = 0; at < entries.length; at++) {
      const { name, field } = entries[at] as (typeof entries)[number];
      const content = (value as Record<string, unknown>)[name];
      if (content === undefined) omitted += field.size;
      else {
        if (omitted > 0) to.zeros(omitted);
        omitted = 0;
        field.write(to, content);
      }
    }
    if (omitted > 0) to.zeros(omitted);
  };
  return fixed<StructOf<F>>(size, write, (from, start) => {
    const value: Record<string, unknown> = {};
    let at = start;
    for (let index = 0; index < entries.length; index++) {
      const { name, field } = entries[index] as (typeof entries)[number];
      value[name] = field.readAt(from, at);
      at += field.size;
    }
    return value as StructOf<F>;
  });
}

/** One row of an attribute table: number, kernel identifier, payload. */
export interface Attribute<T> {
  readonly type: number;
  readonly identifier: string;
  readonly codec: Codec<T>;
}

export function attribute<T>(type: number, identifier: string, codec: Codec<T>): Attribute<T> {
  return { type, identifier, codec };
}

/** An attribute that is not in the table; decoding and encoding keep it. */
export interface UnknownAttribute {
  readonly type: number;
  readonly bytes: Uint8Array;
}

// biome-ignore lint/suspicious/noExplicitAny: see AnyFixed
type AttributeTable = Readonly<Record<string, Attribute<any>>>;
export type AttributesOf<T extends AttributeTable> = {
  readonly [K in keyof T]?: (T[K] extends Attribute<infer V> ? V : never) | undefined;
} & { readonly unknown?: readonly UnknownAttribute[] | undefined };

const NLA_HEADER = 4;
/** Masks out NLA_F_NESTED and NLA_F_NET_BYTEORDER, which are flags in `nla_type`. */
export const NLA_TYPE_MASK = 0x3fff;
export const NLA_F_NESTED = 0x8000;

/** Writes one attribute; its codec determines whether it is a nest. */
export function writeAttribute<T>(
  to: ByteWriter,
  type: number,
  codec: Pick<Codec<T>, "write" | "isNest">,
  value: T,
): void {
  const start = to.openAttribute(codec.isNest === true ? type | NLA_F_NESTED : type);
  codec.write(to, value);
  const length = to.closeAttribute(start);
  if (length > 0xffff) throw new CodecError("", `an attribute of ${length} bytes does not fit nla_len (65535)`);
}

/**
 * Calls `visit` for each attribute in `from` with the start and end of its payload. Throws if a length exceeds the
 * buffer. Passes offsets instead of subarrays, because the caller skips most attributes of a link.
 */
export function eachAttribute(from: Uint8Array, visit: (type: number, start: number, end: number) => void): void {
  const size = from.length;
  let at = 0;
  while (size - at >= NLA_HEADER) {
    const length = u16At(from, at);
    if (length < NLA_HEADER || at + length > size) throw invalidLength(length, at, size);
    visit(u16At(from, at + 2) & NLA_TYPE_MASK, at + NLA_HEADER, at + length);
    at += (length + 3) & ~3;
  }
}

function invalidLength(length: number, at: number, size: number): CodecError {
  return new CodecError("", `invalid attribute length ${length} at offset ${at} of ${size} bytes`);
}

/**
 * A sequence of attributes, each at most once, written in the order of the table. `dropUnknown` discards attributes
 * that are not in the table. It is for messages with many of them whose content is never written back.
 */
export function attributes<T extends AttributeTable>(
  table: T,
  { dropUnknown = false }: { readonly dropUnknown?: boolean } = {},
): Codec<AttributesOf<T>> {
  // Messages are the executables' inner loop: arrays with an index take half the instructions of iterators in QuickJS.
  const rows = Object.entries(table).map(([name, row]) => ({
    name,
    ...row,
    fixed: isFixed(row.codec) ? row.codec : undefined,
  }));
  // Without holes: reading a hole searches the array's prototypes.
  const highest = Math.max(0, ...rows.map(({ type }) => type));
  const byType = Array.from({ length: highest + 1 }, (_, type) => rows.findLast((row) => row.type === type));
  return {
    write(to, value) {
      const fields = value as Record<string, unknown>;
      for (let at = 0; at < rows.length; at++) {
        const row = rows[at] as (typeof rows)[number];
        const field = fields[row.name];
        if (field === undefined) continue;
        try {
          writeAttribute(to, row.type, row.codec, field);
        } catch (error) {
          throw named(row.identifier, error);
        }
      }
      if (value.unknown === undefined) return;
      for (const { type, bytes: raw } of value.unknown) writeAttribute(to, type, bytes, raw);
    },
    read(from) {
      const value: Record<string, unknown> = {};
      const unknown: UnknownAttribute[] = [];
      const size = from.length;
      for (let at = 0; size - at >= NLA_HEADER; ) {
        // As in eachAttribute, without calls: each costs as much as the rest of the loop.
        const length = (from[at] as number) | ((from[at + 1] as number) << 8);
        if (length < NLA_HEADER || at + length > size) throw invalidLength(length, at, size);
        const type = ((from[at + 2] as number) | ((from[at + 3] as number) << 8)) & NLA_TYPE_MASK;
        const row = type > highest ? undefined : byType[type];
        if (row !== undefined) {
          try {
            value[row.name] =
              row.fixed !== undefined && row.fixed.size <= length - NLA_HEADER
                ? row.fixed.readAt(from, at + NLA_HEADER)
                : row.codec.read(from.subarray(at + NLA_HEADER, at + length));
          } catch (error) {
            throw named(row.identifier, error);
          }
        } else if (!dropUnknown) unknown.push({ type, bytes: from.slice(at + NLA_HEADER, at + length) });
        at += (length + 3) & ~3;
      }
      if (unknown.length > 0) value.unknown = unknown;
      return value as AttributesOf<T>;
    },
  };
}

function isFixed<T>(codec: Codec<T>): codec is FixedCodec<T> {
  return "readAt" in codec;
}

/** The payload of an attribute that contains attributes. */
export function nest<T>(inner: Codec<T>): Codec<T> {
  return { isNest: true, write: (to, value) => inner.write(to, value), read: (from) => inner.read(from) };
}

/** A list: a nest of many attributes of one type (`NFTA_LIST_ELEM`). */
export function list<T>(type: number, element: Codec<T>): Codec<readonly T[]> {
  return {
    isNest: true,
    write(to, values) {
      for (const value of values) writeAttribute(to, type, element, value);
    },
    read(from) {
      const values: T[] = [];
      eachAttribute(from, (found, start, end) => {
        if (found === type) values.push(element.read(from.subarray(start, end)));
      });
      return values;
    },
  };
}

// biome-ignore lint/suspicious/noExplicitAny: see AnyFixed
type VariantTable = Readonly<Record<string, Codec<any>>>;
export type VariantOf<T extends VariantTable> = {
  readonly [K in keyof T & string]: { readonly kind: K; readonly data?: ValueOf<T[K]> | undefined };
}[keyof T & string];

/**
 * A nest of a name and a payload; the name selects the payload's table (`IFLA_LINKINFO`, `NFTA_EXPR_*`). For a kind
 * that is not in the table, `data` has the raw bytes, although its type says otherwise: check `kind` first.
 */
export function variant<T extends VariantTable>(
  kind: { readonly type: number; readonly identifier: string },
  data: { readonly type: number; readonly identifier: string },
  kinds: T,
): Codec<VariantOf<T>> {
  return {
    isNest: true,
    write(to, value) {
      writeAttribute(to, kind.type, cstring, value.kind);
      if (value.data === undefined) return;
      const payload = kinds[value.kind];
      if (payload === undefined) throw new CodecError(kind.identifier, `unknown kind ${value.kind}`);
      within(`${data.identifier}(${value.kind})`, () => writeAttribute(to, data.type, nest(payload), value.data));
    },
    read(from) {
      let name = "";
      let raw: Uint8Array | undefined;
      eachAttribute(from, (type, start, end) => {
        if (type === kind.type) name = cstring.read(from.subarray(start, end));
        else if (type === data.type) raw = from.subarray(start, end);
      });
      const payload = kinds[name];
      const bytesOfData = raw;
      if (bytesOfData === undefined) return { kind: name } as VariantOf<T>;
      const value =
        payload === undefined
          ? bytesOfData.slice()
          : within(`${data.identifier}(${name})`, () => payload.read(bytesOfData));
      return { kind: name, data: value } as VariantOf<T>;
    },
  };
}

/** Encodes a value into a new buffer. */
export function encode<T>(codec: Codec<T>, value: T): Uint8Array {
  const writer = new ByteWriter();
  codec.write(writer, value);
  return writer.finish();
}
