/** Runs calls by the program in C, whose process is small and costs the calls nothing. */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { Sample } from "./case.ts";
import { RUNNER } from "./compile.ts";

/** A call with its files, as runner.c reads it. A file that is undefined does not exist. */
export interface RunnerCall {
  /** The path of the node's network namespace. */
  readonly node: string;
  readonly executable: string;
  readonly verb: string;
  readonly containerId: string;
  /** The path of the pod's network namespace. */
  readonly pod: string;
  readonly configuration: string;
  readonly previous: string | undefined;
  readonly output: string | undefined;
}

/** Runs the calls one after another. Throws the output of a failed call. */
export async function runInTurn(
  calls: readonly RunnerCall[],
  onSample: (count: number) => void = () => undefined,
): Promise<Sample[]> {
  const lines = await run([], calls, onSample);
  return lines.map((line) => {
    const [nanoseconds = Number.NaN, peakKib = Number.NaN, cpuMicroseconds = Number.NaN] = line.split(" ").map(Number);
    return { milliseconds: nanoseconds / 1e6, peakKib, cpuMilliseconds: cpuMicroseconds / 1e3 };
  });
}

/** Runs the calls, several at the same time. Returns the seconds that all took. */
export async function runAtOnce(calls: readonly RunnerCall[], atOnce: number): Promise<number> {
  const lines = await run([String(atOnce)], calls, () => undefined);
  return Number(lines.at(-1)?.split(" ")[1]) / 1e9;
}

async function run(
  args: readonly string[],
  calls: readonly RunnerCall[],
  onLine: (count: number) => void,
): Promise<string[]> {
  const runner = spawn(RUNNER, args, { env: { PATH: process.env.PATH, CNI_IFNAME: "eth0" } });
  const lines: string[] = [];
  const readAll = new Promise<void>((resolve) => {
    createInterface({ input: runner.stdout })
      .on("line", (line) => onLine(lines.push(line)))
      .once("close", resolve);
  });
  const exited = new Promise<number | null>((resolve, reject) => {
    runner.once("error", reject).once("close", resolve);
  });
  let errors = "";
  runner.stderr.setEncoding("utf8").on("data", (text: string) => {
    errors += text;
  });
  // After a failed call, the runner does not read the rest.
  runner.stdin.on("error", () => undefined);
  runner.stdin.end(calls.map(lineOf).join(""));
  const [status] = await Promise.all([exited, readAll]);
  if (status !== 0) throw new Error(errors.trim() || `the runner exited with ${status}`);
  return lines;
}

function lineOf({ node, executable, verb, containerId, pod, configuration, previous, output }: RunnerCall): string {
  return `${[node, executable, verb, containerId, pod, configuration, previous ?? "-", output ?? "-"].join("\t")}\n`;
}
