/** The only place where weftd runs another program and waits for its end. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import type { Execute } from "../legacy-tables.ts";

const TIME_LIMIT_MS = 20_000;
/** In bytes. The output is large because a cluster's Services are tens of thousands of rules. */
const MOST_OUTPUT = 256 * 1024 * 1024;
/** Appended to PATH, which in a container may lack the host's directories for administration programs. */
const FOLDERS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** Returns the environment for another program: this process's environment, with output in English. */
export function programEnvironment(): NodeJS.ProcessEnv {
  return { ...process.env, PATH: `${process.env.PATH ?? ""}:${FOLDERS}`, LC_ALL: "C" };
}

export const execute: Execute = async (program, args, { input, timeLimitMs = TIME_LIMIT_MS } = {}) => {
  const env = programEnvironment();
  try {
    const running = promisify(execFile)(program, args, { env, timeout: timeLimitMs, maxBuffer: MOST_OUTPUT });
    // A program that ends before it has read all input reports the reason itself.
    running.child.stdin?.on("error", () => undefined).end(input ?? "");
    return (await running).stdout;
  } catch (error) {
    const { code, stderr } = error as { code?: unknown; stderr?: string };
    if (code === "ENOENT") return undefined;
    throw new Error(`${program} ${args.join(" ")}: ${stderr?.trim() || String(error)}`, { cause: error });
  }
};
