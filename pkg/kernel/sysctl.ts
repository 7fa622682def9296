/**
 * Kernel settings under /proc/sys, by their dotted names. A device's name may hold dots (`cni0.100`): in a name here they
 * stand as they are, and only the dots between the parts given separately become slashes.
 */
import type { ObjectIdentity } from "../netlink/message.ts";
import { isSystemError } from "../sys/errors.ts";
import type { Files } from "../sys/system.ts";

/** `["net", "ipv4", "conf", "cni0.100", "forwarding"]` */
export type SysctlName = readonly string[];

/** Its file. */
export function sysctlPath(name: SysctlName): string {
  return `/proc/sys/${name.join("/")}`;
}

/** By its file, whatever its value. */
export function settingObject(name: SysctlName): ObjectIdentity {
  return { kind: "setting", key: sysctlPath(name) };
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

/** What writing to /proc/sys ends with where it is mounted read-only, as in a container without privileges. */
const REFUSALS = ["EROFS", "EACCES", "EPERM"];

/**
 * Sets a value where it differs. Nothing is written where it is right already, so that a read-only /proc/sys does not
 * matter then, nor where `substitute` has the value: another setting that does the same. Throws `SystemError` ENOENT where the
 * kernel has no such setting.
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
      `the kernel setting ${name.join(".")} is ${current ?? "not readable"}, has to be ${value}, and cannot be written ` +
        `(${error.message}): set ${(substitute ?? name).join(".")}=${value} for the container that this runs in, or mount /proc/sys ` +
        "writable there",
      { cause: error },
    );
  }
}

/** As `ensureSysctl`, for a setting that can be done without: where the kernel lacks it, or it cannot be written. */
export function ensureOptionalSysctl(files: Files, name: SysctlName, value: string): void {
  try {
    const current = readSysctl(files, name);
    if (current !== undefined && current !== value) setSysctl(files, name, value);
  } catch (error) {
    // ENOENT: the device is gone meanwhile, which what comes next will find out.
    if (!isSystemError(error, ...REFUSALS, "ENOENT")) throw error;
  }
}

/** Sets a value, whatever it was. Throws `SystemError` ENOENT where the kernel has no such setting. */
export function setSysctl(files: Files, name: SysctlName, value: string): void {
  files.writeFile(sysctlPath(name), new TextEncoder().encode(value), { existing: true });
}
