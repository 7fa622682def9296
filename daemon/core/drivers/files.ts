/** Writes the files of plans: compares them with the existing content, and replaces a file completely if it differs. */
import { mkdir, stat, unlink } from "node:fs/promises";
import { dirname } from "node:path";
import type { FileStep } from "../../../pkg/reconcile/plan-step.ts";
import { PERMISSIONS, replaceFile } from "./replace-file.ts";

export class FileDriver {
  /** True if something was changed. Creates missing directories. Throws Node's own errors. */
  async apply({ path, content, mode }: Pick<FileStep, "path" | "content" | "mode">): Promise<boolean> {
    if (content === undefined) return removeFile(path);
    await mkdir(dirname(path), { recursive: true });
    return replaceFile(path, content, mode ?? (await modeOf(path)));
  }
}

/** The permission bits of the existing file; undefined if there is none. */
async function modeOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).mode & PERMISSIONS;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
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
