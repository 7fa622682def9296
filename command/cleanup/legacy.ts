/**
 * Reads weftd's rules in iptables-legacy's chain FORWARD. They are not part of nftables, and only iptables-legacy
 * changes them.
 */

import { LEGACY_FORWARD_COMMENT } from "../../pkg/footprint.ts";
import type { System } from "../../pkg/sys/system.ts";
import { legacyProgram, readLegacyFamilies, runLegacy } from "../node/legacy.ts";

export interface LegacyRules {
  readonly program: string;
  /** Undefined if the program is not installed. Its rules are not known then. */
  readonly path: string | undefined;
  /** Arguments that delete one rule each. */
  readonly deletions: readonly (readonly string[])[];
}

/** Reads the rules of the families whose legacy tables are in use. */
export function readLegacyRules(system: System): LegacyRules[] {
  return readLegacyFamilies(system).map((family) => {
    const { name, path } = legacyProgram(system, family);
    const deletions = path === undefined ? [] : parseDeletions(runLegacy(system, path, ["-S", "FORWARD"]));
    return { program: name, path, deletions };
  });
}

/** Parses the output of `-S FORWARD`: `-A FORWARD -s 10.244.0.0/16 -m comment --comment "weft: pods" -j ACCEPT`. */
export function parseDeletions(shown: string): string[][] {
  const marked = `--comment "${LEGACY_FORWARD_COMMENT}"`;
  return shown
    .split("\n")
    .filter((line) => line.startsWith("-A FORWARD ") && line.includes(marked))
    .map((line) => line.replace(marked, "--comment \u0000").split(" "))
    .map(([, ...words]) => ["-D", ...words.map((word) => word.replace("\u0000", LEGACY_FORWARD_COMMENT))]);
}
