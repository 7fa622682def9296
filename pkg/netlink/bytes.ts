/**
 * A growing output buffer, with netlink's 4-byte alignment (NLMSG_ALIGNTO, NLA_ALIGNTO).
 *
 * Host byte order is little-endian on every architecture that weft supports (amd64, arm64). Fields in network byte
 * order use the codecs `be16`, `be32` and `be64`.
 */
export class ByteWriter {
  #bytes: Uint8Array;
  #view: DataView;
  #length = 0;

  constructor(capacity = 256) {
    this.#bytes = new Uint8Array(capacity);
    this.#view = new DataView(this.#bytes.buffer);
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
    const at = this.#grow(1);
    this.#view.setUint8(at, value);
  }

  u16(value: number, littleEndian = true): void {
    const at = this.#grow(2);
    this.#view.setUint16(at, value, littleEndian);
  }

  u32(value: number, littleEndian = true): void {
    const at = this.#grow(4);
    this.#view.setUint32(at, value, littleEndian);
  }

  i32(value: number): void {
    const at = this.#grow(4);
    this.#view.setInt32(at, value, true);
  }

  u64(value: bigint, littleEndian = true): void {
    const at = this.#grow(8);
    this.#view.setBigUint64(at, value, littleEndian);
  }

  bytes(value: Uint8Array): void {
    const at = this.#grow(value.length);
    this.#bytes.set(value, at);
  }

  /** Writes one byte for each character; all characters must be below 256. */
  characters(text: string): void {
    const at = this.#grow(text.length);
    for (let index = 0; index < text.length; index++) this.#bytes[at + index] = text.charCodeAt(index);
  }

  zeros(count: number): void {
    this.#grow(count);
  }

  align4(): void {
    this.#grow(-this.#length & 3);
  }

  /** Overwrites 16 bits at `at` with a length (`nla_len`). */
  patchU16(at: number, value: number): void {
    this.#view.setUint16(at, value, true);
  }

  /** Overwrites 32 bits at `at` with a length (`nlmsg_len`). */
  patchU32(at: number, value: number): void {
    this.#view.setUint32(at, value, true);
  }

  #grow(count: number): number {
    const at = this.#length;
    const needed = at + count;
    if (needed > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
      larger.set(this.#bytes.subarray(0, at));
      this.#bytes = larger;
      this.#view = new DataView(larger.buffer);
    }
    this.#length = needed;
    return at;
  }
}

/** Returns a view of exactly these bytes, at their offset in the underlying buffer. */
export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}
