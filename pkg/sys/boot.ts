/** Telling one boot of the machine from another. */
import type { Files } from "./system.ts";

/** A random UUID that the kernel makes at each boot (Documentation/admin-guide/sysctl/kernel.rst, "random"). */
export const BOOT_ID_FILE = "/proc/sys/kernel/random/boot_id";

export function readBootId(files: Pick<Files, "readFile">): string {
  return new TextDecoder().decode(files.readFile(BOOT_ID_FILE)).trim();
}
