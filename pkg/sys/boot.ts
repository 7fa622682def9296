/** Distinguishes boots of the machine. */
import type { Files } from "./system.ts";

/** A random UUID that the kernel generates at each boot (Documentation/admin-guide/sysctl/kernel.rst, "random"). */
export const BOOT_ID_FILE = "/proc/sys/kernel/random/boot_id";

export function readBootId(files: Pick<Files, "readFile">): string {
  return new TextDecoder().decode(files.readFile(BOOT_ID_FILE)).trim();
}
