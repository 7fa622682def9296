/** Recognises weft's files by an ELF note of the name "weft" (elf(5), "Notes"). Its content is the build id. */

const PT_NOTE = 4;
const ELF64_PROGRAM_HEADER_BYTES = 56;
const NOTE_NAME = "weft\0";

/** Returns the build id of `file`. Undefined if it is not weft. Accepts any bytes. */
export function buildIdOf(file: Uint8Array): string | undefined {
  const isElf64 = hasText(file, 0, "\x7fELF\x02\x01");
  if (!isElf64 || file.length < 64) return undefined;
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const [at, size, count] = [Number(view.getBigUint64(32, true)), view.getUint16(54, true), view.getUint16(56, true)];
  if (size !== ELF64_PROGRAM_HEADER_BYTES || at + size * count > file.length) return undefined;
  for (let index = 0; index < count; index++) {
    const header = at + index * size;
    if (view.getUint32(header, true) !== PT_NOTE) continue;
    const [offset, bytes] = [view.getBigUint64(header + 8, true), view.getBigUint64(header + 32, true)];
    if (offset + bytes > BigInt(file.length)) continue;
    const found = buildIdIn(file.subarray(Number(offset), Number(offset + bytes)));
    if (found !== undefined) return found;
  }
  return undefined;
}

/**
 * Reads notes. Each has three words (length of the name, length of the content, type), the name and the content, both
 * padded to four bytes.
 */
function buildIdIn(notes: Uint8Array): string | undefined {
  const view = new DataView(notes.buffer, notes.byteOffset, notes.byteLength);
  for (let at = 0; at + 12 <= notes.length; ) {
    const [nameBytes, contentBytes] = [view.getUint32(at, true), view.getUint32(at + 4, true)];
    const content = at + 12 + padded(nameBytes);
    if (content + contentBytes > notes.length) return undefined;
    if (nameBytes === NOTE_NAME.length && hasText(notes, at + 12, NOTE_NAME))
      return new TextDecoder().decode(notes.subarray(content, content + contentBytes));
    at = content + padded(contentBytes);
  }
  return undefined;
}

function padded(bytes: number): number {
  return Math.ceil(bytes / 4) * 4;
}

function hasText(bytes: Uint8Array, at: number, ascii: string): boolean {
  for (let index = 0; index < ascii.length; index++) if (bytes[at + index] !== ascii.charCodeAt(index)) return false;
  return true;
}
