/** Compilers and their like: what they complain of is seen, and ends the build. */
import { execFileSync } from "node:child_process";

export function run(command: string, args: readonly string[]): void {
  execFileSync(command, args, { stdio: ["ignore", "ignore", "inherit"] });
}

/** What it prints. */
export function output(command: string, args: readonly string[]): string {
  return execFileSync(command, args, { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
}
