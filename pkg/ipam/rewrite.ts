import { isSystemError } from "../sys/errors.ts";
import type { Files } from "../sys/system.ts";

const FILE_MODE = 0o600;

/**
 * Puts a new file in the place of the one at `path`, if there is one; without text, none. For files that may be lost:
 * ext4 begins to write a file to the disk when it is closed after O_TRUNC, or renamed over another, which takes ten
 * times as long as this. Throws `SystemError`.
 */
export function rewriteFile(files: Files, path: string, text: string): void {
  try {
    files.unlink(path);
  } catch (error) {
    if (!isSystemError(error, "ENOENT")) throw error;
  }
  if (text !== "") files.writeFile(path, new TextEncoder().encode(text), { mode: FILE_MODE });
}
