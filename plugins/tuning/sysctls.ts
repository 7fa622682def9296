/**
 * Kernel settings of the pod's namespace under /proc/sys/net, which shows each process the settings of its own
 * namespace.
 */

import { wrong } from "../../pkg/attachment/check.ts";
import { CniError, ErrorCode, messageOf } from "../../pkg/cni/errors.ts";
import type { CniRequest } from "../../pkg/cni/plugin.ts";
import type { Undo } from "../../pkg/cni/undo.ts";
import { TUNING_ALLOW_LIST } from "../../pkg/footprint.ts";
import { readSysctl, type SysctlName, setSysctl } from "../../pkg/kernel/sysctl.ts";
import { isSystemError } from "../../pkg/sys/errors.ts";
import type { Files } from "../../pkg/sys/system.ts";

/** The placeholder for the interface's name in a key. */
const INTERFACE = "IFNAME";

/**
 * Parses a key such as `net.ipv4.conf.IFNAME.arp_filter`, separated by dots or slashes. Throws `CniError` 7 for
 * settings outside `net`.
 */
export function sysctlName(key: string, ifName: string): SysctlName {
  const parts = key.replaceAll(".", "/").replace(INTERFACE, ifName).split("/");
  const name = parts.filter((part) => part !== "");
  // biome-ignore lint/suspicious/noControlCharactersInRegex: a NUL would end the name early, and name another file
  const isNet = name.length > 1 && name[0] === "net" && !/[\0-\x1f]/.test(key);
  if (isNet) return name;
  throw new CniError(ErrorCode.invalidConfig, `sysctl: expected a setting below net, got "${key}"`);
}

/** Throws `CniError` 7 for a key that the operator's list does not allow. */
export function assertAllowed(files: Files, keys: Iterable<string>): void {
  const patterns = readAllowList(files);
  if (patterns === undefined) return;
  for (const key of keys) {
    if (patterns.some((pattern) => pattern.test(key))) continue;
    const allowed = patterns.map(({ source }) => source).join(" ");
    throw new CniError(
      ErrorCode.invalidConfig,
      `sysctl: "${key}" is not allowed by ${TUNING_ALLOW_LIST}, which allows: ${allowed || "nothing"}`,
    );
  }
}

function readAllowList(files: Files): RegExp[] | undefined {
  if (files.status(TUNING_ALLOW_LIST) === undefined) return undefined;
  const lines = new TextDecoder().decode(files.readFile(TUNING_ALLOW_LIST)).split("\n");
  return lines.flatMap((line, at) => {
    const text = line.trim();
    if (text === "") return [];
    try {
      return [new RegExp(text, "u")];
    } catch (error) {
      const where = `${TUNING_ALLOW_LIST}, line ${at + 1}`;
      throw new CniError(
        ErrorCode.invalidConfig,
        `${where}: "${text}" is not a regular expression: ${messageOf(error)}`,
        {
          cause: error,
        },
      );
    }
  });
}

/** Sets all keys. On failure, restores the old values of those already set. */
export function applySysctls(request: CniRequest, sysctls: ReadonlyMap<string, string>, undo: Undo): void {
  const { system, ifName } = request;
  const namespace = request.requireNamespace();
  // All names are validated before the first value is set.
  const settings = [...sysctls].map(([key, value]) => ({ key, value, name: sysctlName(key, ifName) }));
  for (const { key, value, name } of settings) {
    try {
      const before = system.inNamespace(namespace, () => {
        const held = readSetting(system, name);
        setSysctl(system, name, value);
        return held;
      });
      if (typeof before === "string") {
        undo.push(() => system.inNamespace(namespace, () => setSysctl(system, name, before)));
      }
    } catch (error) {
      if (!isSystemError(error)) throw error;
      throw new CniError(
        ErrorCode.invalidConfig,
        `sysctl: cannot set ${key} to "${value}" in ${namespace.path}: ${error.message}`,
        { cause: error },
      );
    }
  }
}

/** CHECK: compares the settings. Write-only settings are skipped. */
export function checkSysctls(request: CniRequest, sysctls: ReadonlyMap<string, string>): void {
  const { system, ifName } = request;
  const namespace = request.requireNamespace();
  for (const [key, value] of sysctls) {
    const held = system.inNamespace(namespace, () => readSetting(system, sysctlName(key, ifName)));
    if (held === undefined) throw wrong(`the kernel setting ${key} is missing in ${namespace.path}`);
    if (held !== WRITE_ONLY && !isSameValue(held, value)) {
      throw wrong(`the kernel setting ${key} in ${namespace.path} is "${held}": expected "${value}"`);
    }
  }
}

/** The result for a write-only setting, such as net.ipv4.route.flush. */
const WRITE_ONLY = Symbol("write-only");

function readSetting(files: Files, name: SysctlName): string | typeof WRITE_ONLY | undefined {
  try {
    return readSysctl(files, name);
  } catch (error) {
    if (isSystemError(error, "EACCES", "EPERM")) return WRITE_ONLY;
    throw error;
  }
}

/** The kernel prints several numbers separated by tabs, regardless of how they were written. */
export function isSameValue(held: string, wanted: string): boolean {
  const words = (text: string) => text.trim().split(/\s+/).join(" ");
  return words(held) === words(wanted);
}
