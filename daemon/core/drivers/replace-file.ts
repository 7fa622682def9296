/**
 * A file replaced as a whole: whoever reads it, and whenever this process or the machine dies, there is the old content
 * or the new.
 */
import { open, rename, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { readRegularFile } from "../regular-file.ts";

/** Of a file's mode, the bits that chmod sets. */
export const PERMISSIONS = 0o7777;

/**
 * Makes `path` hold `content`, with the permission bits `mode` where that is given; false when it did already (then nothing
 * is written). The temporary file beside it ends in ".new", which no runtime takes for a configuration, and one left behind
 * by a killed process is used again.
 */
export async function replaceFile(path: string, content: string, mode?: number): Promise<boolean> {
  const isAsWanted = async () => mode === undefined || ((await stat(path)).mode & PERMISSIONS) === mode;
  if ((await currentContent(path)) === content && (await isAsWanted())) return false;
  const temporary = join(dirname(path), `.${basename(path)}.new`);
  const file = await open(temporary, "w", mode ?? 0o644);
  try {
    // First: the process's umask takes bits away when a file is made, and one that was left behind may let others read.
    if (mode !== undefined) await file.chmod(mode);
    await file.writeFile(content);
    // Without it a power cut may leave the new name with no content.
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, path);
  return true;
}

async function currentContent(path: string): Promise<string | undefined> {
  try {
    return await readRegularFile(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}
