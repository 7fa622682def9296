/**
 * Bytes going out: a buffer that grows, with 4-byte alignment as netlink wants it (NLMSG_ALIGNTO, NLA_ALIGNTO).
 *
 * Host byte order is little-endian on every architecture weft is built for (amd64, arm64); fields that the kernel
 * wants in network order say so in their codec (`be16`, `be32`, `be64`).
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

  /** Begins anew, with the same buffer. */
  clear(): void {
    this.#bytes.fill(0, 0, this.#length);
    this.#length = 0;
  }

  /** What was written so far, without a copy: valid until the next write. */
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

  /** A byte for each character, all of which are below 256. */
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

  /** Writes a 16-bit length over bytes written earlier (`nla_len`). */
  patchU16(at: number, value: number): void {
    this.#view.setUint16(at, value, true);
  }

  /** Writes a 32-bit length over bytes written earlier (`nlmsg_len`). */
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

/** A view on exactly these bytes, wherever they lie in their buffer. */
export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}
