import { isSystemError } from "../sys/errors.ts";
import type { Files } from "../sys/system.ts";

const FILE_MODE = 0o600;

/**
 * Replaces the file at `path` by a new one; with an empty text, only removes it. Use it for files whose loss is
 * acceptable. If a file is truncated by O_TRUNC or replaced by a rename, ext4 writes it to the disk when it is closed
 * or renamed, which takes ten times as long. Throws `SystemError`.
 */
export function rewriteFile(files: Files, path: string, text: string): void {
  try {
    files.unlink(path);
  } catch (error) {
    if (!isSystemError(error, "ENOENT")) throw error;
  }
  if (text !== "") files.writeFile(path, new TextEncoder().encode(text), { mode: FILE_MODE });
}
