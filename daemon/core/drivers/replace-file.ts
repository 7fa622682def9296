/**
 * Replaces a file atomically: at any time, also after this process or the machine dies, readers find the old content or
 * the new.
 */
import { renameSync, writeFileSync } from "node:fs";
import { open, rename, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { readRegularFile } from "../regular-file.ts";

/** The bits of a file's mode that chmod sets. */
export const PERMISSIONS = 0o7777;

/**
 * Makes `path` hold `content`, with the permission bits `mode` if given. Returns false if it already did; then nothing
 * is written. The temporary file in the same directory ends in ".new", so no runtime reads it as a configuration. A
 * temporary file left by a killed process is overwritten.
 */
export async function replaceFile(path: string, content: string, mode?: number): Promise<boolean> {
  const isAsWanted = async () => mode === undefined || ((await stat(path)).mode & PERMISSIONS) === mode;
  if ((await currentContent(path)) === content && (await isAsWanted())) return false;
  const temporary = temporaryOf(path);
  const file = await open(temporary, "w", mode ?? 0o644);
  try {
    // Must precede the write: the umask removes bits when a file is created, and a leftover file may be readable by
    // other users.
    if (mode !== undefined) await file.chmod(mode);
    await file.writeFile(content);
    // Without sync, a power failure may leave the new name with no content.
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, path);
  return true;
}

/**
 * Replaces a file that no reader uses after the machine dies. Blocks, because each asynchronous call waits for a thread
 * of Node.js's pool, which takes longer than the call: use it only for a directory in memory, such as /run. Throws
 * the errors of `node:fs`.
 */
export function overwriteVolatileFile(path: string, content: string): void {
  const temporary = temporaryOf(path);
  writeFileSync(temporary, content, { mode: 0o644 });
  renameSync(temporary, path);
}

function temporaryOf(path: string): string {
  return join(dirname(path), `.${basename(path)}.new`);
}

async function currentContent(path: string): Promise<string | undefined> {
  try {
    return await readRegularFile(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}
