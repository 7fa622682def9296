/** Compilers and their like: what they complain of is seen, and ends the build. */
import { execFileSync } from "node:child_process";

export function run([program = "", ...args]: readonly string[]): void {
  execFileSync(program, args, { stdio: ["ignore", "ignore", "inherit"] });
}

/** What it prints. */
export function output([program = "", ...args]: readonly string[]): string {
  return execFileSync(program, args, { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
}

/** What it writes to its standard output. */
export function outputBytes([program = "", ...args]: readonly string[]): Uint8Array {
  return execFileSync(program, args, { stdio: ["ignore", "pipe", "inherit"], maxBuffer: 2 ** 26 });
}
