/** Kernel settings, written where they differ. */
import { readSysctl, type SysctlName, setSysctl } from "../../../pkg/kernel/sysctl.ts";
import { isSystemError } from "../../../pkg/sys/errors.ts";
import type { Files } from "../../../pkg/sys/system.ts";

/** A setting that is wrong and cannot be changed from here; the message says what to run. */
export class SettingError extends Error {
  constructor(name: SysctlName, value: string, cause: Error) {
    const setting = `${name.join(".")}=${value}`;
    super(
      `${setting} cannot be set: ${cause.message}; give weftd the host's settings by --proc-sys, or on the host: sysctl -w ${setting}`,
      {
        cause,
      },
    );
    this.name = "SettingError";
  }
}

/** A setting and the value that it must have. */
export interface Setting {
  readonly name: SysctlName;
  readonly value: string;
}

/**
 * Sets what differs; returns it as "name=value", undefined where it was right. `isAllowed` is asked before a change: false
 * where that is not to be. Throws `SettingError`.
 */
export function ensureSetting(
  files: Files,
  { name, value }: Setting,
  isAllowed: () => boolean = () => true,
): string | undefined {
  try {
    if (readSysctl(files, name) === value || !isAllowed()) return undefined;
    setSysctl(files, name, value);
    return `${name.join(".")}=${value}`;
  } catch (error) {
    if (isSystemError(error)) throw new SettingError(name, value, error);
    throw error;
  }
}
