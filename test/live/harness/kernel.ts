/** Checks for kernel features that some machines lack. Tests of a missing feature run in the machine of hack/vm. */
import { spawnSync } from "node:child_process";
import { release } from "node:os";
import { describe } from "vitest";

/**
 * True if `command` succeeds in a new network namespace. If not, prints to standard error which tests need the emulated
 * machine. That machine's kernel has every tested feature: there, this always returns true, and the tests fail.
 */
export function kernelCan(what: string, command: string): boolean {
  const { status } = spawnSync("unshare", ["-n", "sh", "-c", command], { stdio: "ignore" });
  if (status === 0 || process.env.WEFT_VM !== undefined) return true;
  process.stderr.write(`live tests of ${what} are left to npm run test:vm: this kernel lacks it (${command})\n`);
  return false;
}

/** True for Linux `major.minor` and later. For tests of behaviour that depends on the kernel's version. */
export function isKernelFrom(major: number, minor: number): boolean {
  const [ownMajor = 0, ownMinor = 0] = release().split(".").map(Number.parseFloat);
  return ownMajor > major || (ownMajor === major && ownMinor >= minor);
}

/** Like `describe` if `isSo`. Otherwise the tests are not defined at all, so they do not count as skipped. */
export function describeWhere(isSo: boolean): (name: string, tests: () => void) => void {
  return isSo ? (name, tests) => void describe(name, tests) : () => undefined;
}
