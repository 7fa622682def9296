/** Logs JSON lines to standard output, one for each decision. */
import { type Logger, pino, stdTimeFunctions } from "pino";
import type { LogLevel } from "../options.ts";

export type { Logger } from "pino";

export function openLog(level: LogLevel, node: string): Logger {
  return pino({
    level,
    // In a container the process id tells nothing, and the host's name is the node's name.
    base: { node },
    timestamp: stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    // pino's own serializer appends the messages of causes, but our messages already contain them.
    serializers: { err: describeError },
  });
}

function describeError(error: unknown) {
  if (!(error instanceof Error)) return { type: typeof error, message: String(error) };
  const { name, message, stack } = error;
  return { type: name, message, stack };
}
