/** JSON lines on standard output: one for each decision, for machines first. */
import { type Logger, pino, stdTimeFunctions } from "pino";
import type { LogLevel } from "./options.ts";

export type { Logger } from "pino";

export function openLog(level: LogLevel, node: string): Logger {
  return pino({
    level,
    // The process id says nothing in a container, and the host's name is the node's.
    base: { node },
    timestamp: stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
  });
}
