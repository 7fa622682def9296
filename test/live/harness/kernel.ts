/** What the kernel can do: tests of what it lacks run in the machine of hack/vm. */
import { spawnSync } from "node:child_process";

/**
 * True where `command` succeeds in a network namespace of its own. Elsewhere it says on standard error what is skipped; in
 * the emulated machine, whose kernel has all that is tested, nothing is skipped, and the tests fail.
 */
export function kernelCan(what: string, command: string): boolean {
  const { status } = spawnSync("unshare", ["-n", "sh", "-c", command], { stdio: "ignore" });
  if (status === 0 || process.env.WEFT_VM !== undefined) return true;
  process.stderr.write(
    `live tests of ${what} are skipped: this kernel lacks it (${command}); npm run test:vm has it\n`,
  );
  return false;
}
