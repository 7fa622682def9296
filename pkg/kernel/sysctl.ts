/**
 * Kernel settings under /proc/sys, by the parts of their names. A device's name may contain dots (`cni0.100`), so names
 * are lists: dots inside a part stay, and slashes join the parts.
 */
import type { ObjectIdentity } from "../netlink/message.ts";
import { isSystemError } from "../sys/errors.ts";
import type { Files } from "../sys/system.ts";

/** `["net", "ipv4", "conf", "cni0.100", "forwarding"]` */
export type SysctlName = readonly string[];

/** The path of the setting's file. */
export function sysctlPath(name: SysctlName): string {
  return `/proc/sys/${name.join("/")}`;
}

/** Identifies a setting by its file; the value is not part of the identity. */
export function settingObject(name: SysctlName): ObjectIdentity {
  return { kind: "setting", key: sysctlPath(name) };
}

/** Reads the value without its newline; `undefined` if the kernel has no such setting. */
export function readSysctl(files: Files, name: SysctlName): string | undefined {
  try {
    return new TextDecoder().decode(files.readFile(sysctlPath(name))).trim();
  } catch (error) {
    if (isSystemError(error, "ENOENT")) return undefined;
    throw error;
  }
}

/** The errors of a write to /proc/sys if it is mounted read-only, as in an unprivileged container. */
const REFUSALS = ["EROFS", "EACCES", "EPERM"];

/**
 * Sets a value if it differs. Writes nothing if the value is already correct, so /proc/sys may then be read-only. It
 * may also be read-only if `substitute`, another setting with the same effect, has the value. Throws `SystemError`
 * ENOENT if the kernel has no such setting.
 */
export function ensureSysctl(files: Files, name: SysctlName, value: string, substitute?: SysctlName): void {
  const current = readSysctl(files, name);
  if (current === value) return;
  try {
    setSysctl(files, name, value);
  } catch (error) {
    if (!isSystemError(error, ...REFUSALS)) throw error;
    if (substitute !== undefined && readSysctl(files, substitute) === value) return;
    throw new Error(
      `the kernel setting ${name.join(".")} is ${current ?? "not readable"} and must be ${value}, but cannot be written ` +
        `(${error.message}): set ${(substitute ?? name).join(".")}=${value} for this container, or mount /proc/sys ` +
        "writable there",
      { cause: error },
    );
  }
}

/** Like `ensureSysctl`, but ignores a setting that the kernel lacks or that cannot be written. */
export function ensureOptionalSysctl(files: Files, name: SysctlName, value: string): void {
  try {
    const current = readSysctl(files, name);
    if (current !== undefined && current !== value) setSysctl(files, name, value);
  } catch (error) {
    // ENOENT: the device has been removed meanwhile, which a later step of the caller detects.
    if (!isSystemError(error, ...REFUSALS, "ENOENT")) throw error;
  }
}

/** Sets a value unconditionally. Throws `SystemError` ENOENT if the kernel has no such setting. */
export function setSysctl(files: Files, name: SysctlName, value: string): void {
  files.writeFile(sysctlPath(name), new TextEncoder().encode(value), { existing: true });
}
