/**
 * A file replaced as a whole: whoever reads it, and whenever this process or the machine dies, there is the old content
 * or the new.
 */
import { open, rename } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { readRegularFile } from "../regular-file.ts";

/**
 * Makes `path` hold `content`; false when it did already (then nothing is written). The temporary file beside it ends in
 * ".new", which no runtime takes for a configuration, and one left behind by a killed process is used again.
 */
export async function replaceFile(path: string, content: string): Promise<boolean> {
  if ((await currentContent(path)) === content) return false;
  const temporary = join(dirname(path), `.${basename(path)}.new`);
  const file = await open(temporary, "w", 0o644);
  try {
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
