/** Runs compilers and similar programs. Their errors are printed and end the build. */
import { execFileSync } from "node:child_process";

export function run([program = "", ...args]: readonly string[]): void {
  execFileSync(program, args, { stdio: ["ignore", "ignore", "inherit"] });
}

/** Returns the program's output as text. */
export function output([program = "", ...args]: readonly string[]): string {
  return execFileSync(program, args, { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
}

/** Returns the program's output as bytes. */
export function outputBytes([program = "", ...args]: readonly string[]): Uint8Array {
  return execFileSync(program, args, { stdio: ["ignore", "pipe", "inherit"], maxBuffer: 2 ** 26 });
}
