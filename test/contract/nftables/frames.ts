/** Datagrams on a stream, each preceded by its length (four bytes, little-endian). */

const LENGTH_BYTES = 4;

export function framed(datagram: Uint8Array): Uint8Array {
  const frame = new Uint8Array(LENGTH_BYTES + datagram.length);
  new DataView(frame.buffer).setUint32(0, datagram.length, true);
  frame.set(datagram, LENGTH_BYTES);
  return frame;
}

/** Reassembles datagrams from the pieces of a stream. */
export class Frames {
  readonly #onDatagram: (datagram: Uint8Array) => void;
  #waiting = new Uint8Array(0);

  constructor(onDatagram: (datagram: Uint8Array) => void) {
    this.#onDatagram = onDatagram;
  }

  take(piece: Uint8Array): void {
    const all = new Uint8Array(this.#waiting.length + piece.length);
    all.set(this.#waiting);
    all.set(piece, this.#waiting.length);
    let at = 0;
    while (all.length - at >= LENGTH_BYTES) {
      const end = at + LENGTH_BYTES + new DataView(all.buffer, at).getUint32(0, true);
      if (end > all.length) break;
      this.#onDatagram(all.slice(at + LENGTH_BYTES, end));
      at = end;
    }
    this.#waiting = all.slice(at);
  }
}
