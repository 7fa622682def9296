/** Temporary folders. A prefix with this process's number distinguishes them from folders of other processes. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Cleanup } from "./cleanup.ts";
import { OWN_PREFIX } from "./leftovers.ts";

export function makeFolder(label: string, cleanup: Cleanup): string {
  const folder = mkdtempSync(join(tmpdir(), `${OWN_PREFIX}${label}-`));
  cleanup.push(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
