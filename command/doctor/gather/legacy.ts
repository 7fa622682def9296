/** Reads iptables-legacy's chain FORWARD if its tables are in use. */
import type { System } from "../../../pkg/sys/system.ts";
import { legacyProgram, readLegacyFamilies, runLegacy } from "../../node/legacy.ts";
import type { LegacyTable } from "../facts.ts";

export function readLegacy(system: System): LegacyTable[] {
  return readLegacyFamilies(system).map((family) => {
    const { name, path } = legacyProgram(system, family);
    return { family, program: name, forward: path === undefined ? undefined : forwardChain(system, path) };
  });
}

/** Undefined if the program fails, for example because another process holds its lock for long. */
function forwardChain(system: System, path: string): string | undefined {
  try {
    return runLegacy(system, path, ["-S", "FORWARD"]);
  } catch {
    return undefined;
  }
}
