/**
 * D-Bus messages on the wire (D-Bus specification 0.43, "Message Protocol"), limited to method calls with string
 * arguments. Messages are written in little-endian byte order and read in either.
 */

export const MESSAGE_TYPE = { call: 1, return: 2, error: 3, signal: 4 } as const;
const HEADER_FIELD = {
  path: 1,
  interface: 2,
  member: 3,
  errorName: 4,
  replySerial: 5,
  destination: 6,
  signature: 8,
} as const;
const PROTOCOL_VERSION = 1;
const LITTLE = 0x6c;
const BIG = 0x42;
/** The length of the fixed part of the header, including the length field of the header's array. */
const FIXED_LENGTH = 16;
/** The limit for a message in bytes. The specification allows 128 MiB; no answer to weft's calls is that large. */
const LONGEST = 1 << 20;

/** Thrown for bytes that are not a D-Bus message, or not one that this file can decode. */
export class DbusFormatError extends Error {
  override name = "DbusFormatError";
}

export interface MethodCall {
  readonly serial: number;
  readonly destination: string;
  readonly path: string;
  readonly interface: string;
  readonly member: string;
  readonly body: readonly string[];
}

export type DbusValue = string | number | boolean;

/** A received message. `body` has the values of basic types, up to the first value of another type. */
export interface DbusMessage {
  readonly type: number;
  readonly serial: number;
  readonly replySerial: number | undefined;
  readonly errorName: string | undefined;
  readonly body: readonly DbusValue[];
}

class Writer {
  readonly #bytes: number[] = [];

  get length(): number {
    return this.#bytes.length;
  }

  byte(value: number): void {
    this.#bytes.push(value & 0xff);
  }

  align(to: number): void {
    while (this.#bytes.length % to !== 0) this.byte(0);
  }

  u32(value: number): void {
    this.align(4);
    for (const shift of [0, 8, 16, 24]) this.byte(value >>> shift);
  }

  /** Writes a STRING or OBJECT_PATH. */
  string(text: string): void {
    const bytes = new TextEncoder().encode(text);
    this.u32(bytes.length);
    this.append(bytes);
    this.byte(0);
  }

  signature(text: string): void {
    this.byte(text.length);
    this.append(new TextEncoder().encode(text));
    this.byte(0);
  }

  append(bytes: Uint8Array): void {
    this.#bytes.push(...bytes);
  }

  finish(): Uint8Array {
    return Uint8Array.from(this.#bytes);
  }
}

export function encodeCall(call: MethodCall): Uint8Array {
  const body = new Writer();
  for (const text of call.body) body.string(text);
  const fields = new Writer();
  const field = (code: number, type: "o" | "s" | "g", text: string) => {
    fields.align(8);
    fields.byte(code);
    fields.signature(type);
    if (type === "g") fields.signature(text);
    else fields.string(text);
  };
  field(HEADER_FIELD.path, "o", call.path);
  field(HEADER_FIELD.interface, "s", call.interface);
  field(HEADER_FIELD.member, "s", call.member);
  field(HEADER_FIELD.destination, "s", call.destination);
  if (call.body.length > 0) field(HEADER_FIELD.signature, "g", "s".repeat(call.body.length));
  const message = new Writer();
  for (const byte of [LITTLE, MESSAGE_TYPE.call, 0, PROTOCOL_VERSION]) message.byte(byte);
  message.u32(body.length);
  message.u32(call.serial);
  message.u32(fields.length);
  message.append(fields.finish());
  message.align(8);
  message.append(body.finish());
  return message.finish();
}

/**
 * Returns the length of the message that begins here, or undefined until enough bytes are there. Throws
 * `DbusFormatError`.
 */
export function messageLength(bytes: Uint8Array): number | undefined {
  if (bytes.length < FIXED_LENGTH) return undefined;
  const reader = new Reader(bytes);
  const body = reader.u32At(4);
  const fields = reader.u32At(12);
  if (body > LONGEST || fields > LONGEST)
    throw new DbusFormatError(`received a message of ${body + fields} bytes: the limit is ${LONGEST}`);
  return FIXED_LENGTH + Math.ceil(fields / 8) * 8 + body;
}

class Reader {
  readonly #view: DataView;
  readonly #bytes: Uint8Array;
  readonly #isLittle: boolean;
  #at = 0;

  constructor(bytes: Uint8Array) {
    if (bytes[0] !== LITTLE && bytes[0] !== BIG) throw new DbusFormatError(`unknown byte order ${bytes[0]}`);
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#isLittle = bytes[0] === LITTLE;
  }

  get at(): number {
    return this.#at;
  }

  seek(at: number): void {
    this.#at = at;
  }

  align(to: number): void {
    this.#at = Math.ceil(this.#at / to) * to;
  }

  #take(length: number): number {
    const start = this.#at;
    if (start + length > this.#bytes.length) throw new DbusFormatError("the message is truncated");
    this.#at += length;
    return start;
  }

  byte(): number {
    return this.#view.getUint8(this.#take(1));
  }

  u32At(at: number): number {
    return this.#view.getUint32(at, this.#isLittle);
  }

  u32(): number {
    this.align(4);
    return this.u32At(this.#take(4));
  }

  text(length: number): string {
    const start = this.#take(length + 1);
    return new TextDecoder().decode(this.#bytes.subarray(start, start + length));
  }

  /** Reads one value. Returns undefined for a type that is not basic, or that no answer to weft's calls uses. */
  value(type: string): DbusValue | undefined {
    switch (type) {
      case "y":
        return this.byte();
      case "b":
        return this.u32() !== 0;
      case "u":
        return this.u32();
      case "i":
        return this.u32() | 0;
      case "s":
      case "o":
        return this.text(this.u32());
      case "g":
        return this.text(this.byte());
      default:
        return undefined;
    }
  }
}

/** Decodes one complete message. Throws `DbusFormatError`. */
export function decodeMessage(bytes: Uint8Array): DbusMessage {
  const reader = new Reader(bytes);
  reader.seek(1);
  const type = reader.byte();
  const serial = reader.u32At(8);
  reader.seek(FIXED_LENGTH);
  const end = FIXED_LENGTH + reader.u32At(12);
  const fields = new Map<number, DbusValue>();
  while (reader.at < end) {
    reader.align(8);
    const code = reader.byte();
    const value = reader.value(reader.text(reader.byte()));
    if (value === undefined) throw new DbusFormatError(`header field ${code} has an unknown type`);
    fields.set(code, value);
  }
  reader.seek(end);
  reader.align(8);
  const body: DbusValue[] = [];
  for (const letter of String(fields.get(HEADER_FIELD.signature) ?? "")) {
    const value = reader.value(letter);
    if (value === undefined) break;
    body.push(value);
  }
  const [errorName, replySerial] = [fields.get(HEADER_FIELD.errorName), fields.get(HEADER_FIELD.replySerial)];
  return {
    type,
    serial,
    replySerial: typeof replySerial === "number" ? replySerial : undefined,
    errorName: typeof errorName === "string" ? errorName : undefined,
    body,
  };
}
