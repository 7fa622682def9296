/** For unit tests: the smallest ELF file with weft's note, or with a note of another owner. */

const FILE_HEADER_BYTES = 64;
const PROGRAM_HEADER_BYTES = 56;

/** `owner` is the name of the note. "weft" marks the file as weft. */
export function fakeExecutable(buildId: string, { owner = "weft", more = "" } = {}): Uint8Array {
  const note = noteOf(owner, buildId);
  const at = FILE_HEADER_BYTES + 2 * PROGRAM_HEADER_BYTES;
  const bytes = new Uint8Array(at + note.length + more.length);
  const view = new DataView(bytes.buffer);
  bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, 1]);
  view.setBigUint64(32, BigInt(FILE_HEADER_BYTES), true);
  view.setUint16(54, PROGRAM_HEADER_BYTES, true);
  view.setUint16(56, 2, true);
  view.setUint32(FILE_HEADER_BYTES, 1, true);
  const header = FILE_HEADER_BYTES + PROGRAM_HEADER_BYTES;
  view.setUint32(header, 4, true);
  view.setBigUint64(header + 8, BigInt(at), true);
  view.setBigUint64(header + 32, BigInt(note.length), true);
  bytes.set(note, at);
  bytes.set(new TextEncoder().encode(more), at + note.length);
  return bytes;
}

/** Returns the note, after a note of another owner. */
function noteOf(owner: string, content: string): Uint8Array {
  return Uint8Array.from([...oneNote("GNU", "abc"), ...oneNote(owner, content)]);
}

function oneNote(owner: string, content: string): Uint8Array {
  const padded = (length: number): number => Math.ceil(length / 4) * 4;
  const name = new TextEncoder().encode(`${owner}\0`);
  const bytes = new Uint8Array(12 + padded(name.length) + padded(content.length));
  const view = new DataView(bytes.buffer);
  view.setUint32(0, name.length, true);
  view.setUint32(4, content.length, true);
  view.setUint32(8, 1, true);
  bytes.set(name, 12);
  bytes.set(new TextEncoder().encode(content), 12 + padded(name.length));
  return bytes;
}
