/** Files of plans: compared with what is there, and replaced as a whole where they differ. */
import { mkdir, unlink } from "node:fs/promises";
import { dirname } from "node:path";
import type { FileStep } from "../../../pkg/reconcile/plan-step.ts";
import { replaceFile } from "./replace-file.ts";

export class FileDriver {
  /** True when something was changed; folders on the way are made. Throws Node's own errors. */
  async apply({ path, content, mode }: Pick<FileStep, "path" | "content" | "mode">): Promise<boolean> {
    if (content === undefined) return removeFile(path);
    await mkdir(dirname(path), { recursive: true });
    return replaceFile(path, content, mode);
  }
}

async function removeFile(path: string): Promise<boolean> {
  try {
    await unlink(path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return false;
    throw error;
  }
}
