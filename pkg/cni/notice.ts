/** Prints warnings on standard error. The runtime logs them; the call succeeds. */
import type { System } from "../sys/system.ts";

/** Writes `NAME: TEXT`. `text` is one line without a line feed. */
export function notice(system: System, name: string, text: string): void {
  system.writeErrorOutput(new TextEncoder().encode(`${name}: ${text}\n`));
}
