/** Writes kernel settings that differ. */
import { readSysctl, type SysctlName, setSysctl } from "../../../pkg/kernel/sysctl.ts";
import { isSystemError } from "../../../pkg/sys/errors.ts";
import type { Files } from "../../../pkg/sys/system.ts";

/** A setting is wrong and weftd cannot change it. The message names the command to run. */
export class SettingError extends Error {
  constructor(name: SysctlName, value: string, cause: Error) {
    const setting = `${name.join(".")}=${value}`;
    super(
      `${setting} cannot be set: ${cause.message}; mount the host's settings and set --proc-sys, or run on the host: sysctl -w ${setting}`,
      {
        cause,
      },
    );
    this.name = "SettingError";
  }
}

/** A setting and its required value. */
export interface Setting {
  readonly name: SysctlName;
  readonly value: string;
}

/**
 * Writes the setting if it differs. Returns "name=value", or undefined if it was right. `isAllowed` is called before a
 * change; if it returns false, nothing changes. Throws `SettingError`.
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
