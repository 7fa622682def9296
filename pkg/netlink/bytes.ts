/**
 * A growing output buffer, with netlink's 4-byte alignment (NLMSG_ALIGNTO, NLA_ALIGNTO).
 *
 * Host byte order is little-endian on every architecture that weft supports (amd64, arm64). Fields in network byte
 * order use the codecs `be16`, `be32` and `be64`.
 *
 * Numbers are written byte by byte: in QuickJS, a call of a DataView's method costs more than four stores.
 */
export class ByteWriter {
  #bytes: Uint8Array;
  /** The number of bytes in `#bytes`: in QuickJS, reading the length of an array of bytes is a call. */
  #capacity: number;
  #length = 0;

  constructor(capacity = 256) {
    this.#bytes = new Uint8Array(capacity);
    this.#capacity = capacity;
  }

  get length(): number {
    return this.#length;
  }

  /** Discards the content, and keeps the buffer. */
  clear(): void {
    this.#bytes.fill(0, 0, this.#length);
    this.#length = 0;
  }

  /** Returns the bytes written so far, without a copy: valid until the next write. */
  finish(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  u8(value: number): void {
    const at = this.#length;
    if (at + 1 > this.#capacity) this.#grow(at + 1);
    this.#bytes[at] = value;
    this.#length = at + 1;
  }

  u16(value: number, littleEndian = true): void {
    const at = this.#length;
    if (at + 2 > this.#capacity) this.#grow(at + 2);
    const bytes = this.#bytes;
    bytes[at] = littleEndian ? value : value >> 8;
    bytes[at + 1] = littleEndian ? value >> 8 : value;
    this.#length = at + 2;
  }

  u32(value: number, littleEndian = true): void {
    const at = this.#length;
    if (at + 4 > this.#capacity) this.#grow(at + 4);
    this.#length = at + 4;
    const bytes = this.#bytes;
    bytes[at] = littleEndian ? value : value >> 24;
    bytes[at + 1] = littleEndian ? value >> 8 : value >> 16;
    bytes[at + 2] = littleEndian ? value >> 16 : value >> 8;
    bytes[at + 3] = littleEndian ? value >> 24 : value;
  }

  i32(value: number): void {
    this.u32(value);
  }

  u64(value: bigint, littleEndian = true): void {
    const at = this.#length;
    if (at + 8 > this.#capacity) this.#grow(at + 8);
    this.#length = at + 8;
    viewOf(this.#bytes).setBigUint64(at, value, littleEndian);
  }

  bytes(value: Uint8Array): void {
    const at = this.#length;
    const end = at + value.length;
    if (end > this.#capacity) this.#grow(end);
    this.#bytes.set(value, at);
    this.#length = end;
  }

  /** Writes one byte for each character; all characters must be below 256. */
  characters(text: string): void {
    const at = this.#length;
    const end = at + text.length;
    if (end > this.#capacity) this.#grow(end);
    const bytes = this.#bytes;
    for (let index = 0; index < text.length; index++) bytes[at + index] = text.charCodeAt(index);
    this.#length = end;
  }

  zeros(count: number): void {
    const end = this.#length + count;
    if (end > this.#capacity) this.#grow(end);
    this.#length = end;
  }

  align4(): void {
    this.zeros(-this.#length & 3);
  }

  /** Begins an attribute, and returns its start for `closeAttribute`. */
  openAttribute(type: number): number {
    const at = this.#length;
    if (at + 4 > this.#capacity) this.#grow(at + 4);
    this.#length = at + 4;
    this.#bytes[at + 2] = type;
    this.#bytes[at + 3] = type >> 8;
    return at;
  }

  /** Ends an attribute: writes its length (`nla_len`) and the padding. Returns the length. */
  closeAttribute(start: number): number {
    const end = this.#length;
    const length = end - start;
    this.#bytes[start] = length;
    this.#bytes[start + 1] = length >> 8;
    const next = (end + 3) & ~3;
    if (next > this.#capacity) this.#grow(next);
    this.#length = next;
    return length;
  }

  /** Overwrites 32 bits at `at` with a length (`nlmsg_len`). */
  patchU32(at: number, value: number): void {
    const bytes = this.#bytes;
    bytes[at] = value;
    bytes[at + 1] = value >> 8;
    bytes[at + 2] = value >> 16;
    bytes[at + 3] = value >> 24;
  }

  /** Makes space for `needed` bytes. */
  #grow(needed: number): void {
    const capacity = Math.max(needed, this.#capacity * 2);
    const larger = new Uint8Array(capacity);
    larger.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = larger;
    this.#capacity = capacity;
  }
}

/** Returns a view of exactly these bytes, at their offset in the underlying buffer. */
export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

/** Reads 16 bits in host byte order. */
export function u16At(bytes: Uint8Array, at: number): number {
  return (bytes[at] as number) | ((bytes[at + 1] as number) << 8);
}

/** Reads 32 bits in host byte order, as a signed number. */
export function i32At(bytes: Uint8Array, at: number): number {
  const low = (bytes[at] as number) | ((bytes[at + 1] as number) << 8);
  return low | ((bytes[at + 2] as number) << 16) | ((bytes[at + 3] as number) << 24);
}

/** Reads 32 bits in host byte order. */
export function u32At(bytes: Uint8Array, at: number): number {
  const low = (bytes[at] as number) | ((bytes[at + 1] as number) << 8);
  return (low | ((bytes[at + 2] as number) << 16) | ((bytes[at + 3] as number) << 24)) >>> 0;
}
