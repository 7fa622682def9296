/** One line on standard error: the runtime logs it, and the call succeeds all the same. */
import type { System } from "../sys/system.ts";

/** Writes `NAME: TEXT`. `text` is one line without a line feed. */
export function notice(system: System, name: string, text: string): void {
  system.writeErrorOutput(new TextEncoder().encode(`${name}: ${text}\n`));
}
