/**
 * Kernel settings under /proc/sys, by their dotted names. A device's name may hold dots (`cni0.100`): in a name here they
 * stand as they are, and only the dots between the parts given separately become slashes.
 */
import { isSystemError } from "../sys/errors.ts";
import type { Files } from "../sys/system.ts";

/** `["net", "ipv4", "conf", "cni0.100", "forwarding"]` */
export type SysctlName = readonly string[];

/** Its file. */
export function sysctlPath(name: SysctlName): string {
  return `/proc/sys/${name.join("/")}`;
}

/** The value, without the line's end; `undefined` where the kernel has no such setting. */
export function readSysctl(files: Files, name: SysctlName): string | undefined {
  try {
    return new TextDecoder().decode(files.readFile(sysctlPath(name))).trim();
  } catch (error) {
    if (isSystemError(error, "ENOENT")) return undefined;
    throw error;
  }
}

/**
 * Sets a value where it differs. Nothing is written where it is right already, so that a read-only /proc/sys does not
 * matter then. Throws `SystemError` ENOENT where the kernel has no such setting.
 */
export function ensureSysctl(files: Files, name: SysctlName, value: string): void {
  if (readSysctl(files, name) !== value) setSysctl(files, name, value);
}

/** As `ensureSysctl`, for a setting that a kernel may lack: then nothing is done. */
export function ensureOptionalSysctl(files: Files, name: SysctlName, value: string): void {
  const current = readSysctl(files, name);
  if (current !== undefined && current !== value) setSysctl(files, name, value);
}

/** Sets a value, whatever it was. Throws `SystemError` ENOENT where the kernel has no such setting. */
export function setSysctl(files: Files, name: SysctlName, value: string): void {
  files.writeFile(sysctlPath(name), new TextEncoder().encode(value), { existing: true });
}
