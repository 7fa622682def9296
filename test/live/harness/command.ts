import { spawn } from "node:child_process";

export interface Outcome {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CommandOptions {
  readonly input?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** Runs a program to its end. Any exit status is a result. */
export function run(file: string, args: readonly string[], { input = "", env }: CommandOptions = {}): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { env: { ...(env ?? process.env) } });
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
    });
    child.on("error", reject);
    child.on("close", (code, signal) => resolve({ status: code ?? (signal === null ? 1 : 128), stdout, stderr }));
    // A program may exit without reading its input.
    child.stdin.on("error", () => undefined);
    child.stdin.end(input);
  });
}

/** Like `run`, but throws if the exit status is not 0. The error quotes the program's output. */
export async function succeed(file: string, args: readonly string[], options?: CommandOptions): Promise<string> {
  const { status, stdout, stderr } = await run(file, args, options);
  if (status !== 0) throw new Error(`${file} ${args.join(" ")}: exit status ${status}: ${stderr || stdout}`);
  return stdout;
}
