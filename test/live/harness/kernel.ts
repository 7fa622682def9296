/** What not every machine can do: tests of what this kernel lacks run in the machine of hack/vm. */
import { spawnSync } from "node:child_process";
import { release } from "node:os";
import { describe } from "vitest";

/**
 * True where `command` succeeds in a network namespace of its own. Elsewhere it says on standard error which tests are
 * left to the emulated machine, whose kernel has all that is tested: there it is always true, and the tests fail.
 */
export function kernelCan(what: string, command: string): boolean {
  const { status } = spawnSync("unshare", ["-n", "sh", "-c", command], { stdio: "ignore" });
  if (status === 0 || process.env.WEFT_VM !== undefined) return true;
  process.stderr.write(`live tests of ${what} are left to npm run test:vm: this kernel lacks it (${command})\n`);
  return false;
}

/** True for Linux `major.minor` and later: for tests of what a kernel answers in that version. */
export function isKernelFrom(major: number, minor: number): boolean {
  const [ownMajor = 0, ownMinor = 0] = release().split(".").map(Number.parseFloat);
  return ownMajor > major || (ownMajor === major && ownMinor >= minor);
}

/** `describe` where `isSo`; elsewhere there are no such tests at all, and none that count as skipped. */
export function describeWhere(isSo: boolean): (name: string, tests: () => void) => void {
  return isSo ? (name, tests) => void describe(name, tests) : () => undefined;
}
