/** JSON lines on standard output: one for each decision, for machines first. */
import { type Logger, pino, stdTimeFunctions } from "pino";
import type { LogLevel } from "../options.ts";

export type { Logger } from "pino";

export function openLog(level: LogLevel, node: string): Logger {
  return pino({
    level,
    // The process id says nothing in a container, and the host's name is the node's.
    base: { node },
    timestamp: stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    // pino's own appends the causes' messages; ours name their causes already.
    serializers: { err: describeError },
  });
}

function describeError(error: unknown) {
  if (!(error instanceof Error)) return { type: typeof error, message: String(error) };
  const { name, message, stack } = error;
  return { type: name, message, stack };
}
