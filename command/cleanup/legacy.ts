/** weftd's rules in iptables-legacy's chain FORWARD: no part of nftables, and changed by iptables-legacy alone. */

import { isSystemError } from "../../pkg/sys/errors.ts";
import type { System } from "../../pkg/sys/system.ts";

const TABLE_NAMES = { 4: "/proc/self/net/ip_tables_names", 6: "/proc/self/net/ip6_tables_names" } as const;
const PROGRAM = { 4: "iptables-legacy", 6: "ip6tables-legacy" } as const;
const FOLDERS = ["/usr/sbin", "/sbin", "/usr/local/sbin", "/usr/bin"];
/** What weftd writes beside its rules there. */
const COMMENT = "weft: pods";
/** iptables-legacy has a lock of its own, which others hold for long where they have thousands of rules. */
const WAIT = ["-w", "5"];

export interface LegacyRules {
  readonly program: string;
  /** `undefined` where that program is not on this node: whether there are any cannot be told then. */
  readonly path: string | undefined;
  /** Arguments that take one rule out each. */
  readonly deletions: readonly (readonly string[])[];
}

/** Of the families whose legacy table `filter` is in use. */
export function readLegacyRules(system: System): LegacyRules[] {
  return ([4, 6] as const)
    .filter((family) => isInUse(system, TABLE_NAMES[family]))
    .map((family) => {
      const program = PROGRAM[family];
      const path = FOLDERS.map((folder) => `${folder}/${program}`).find((each) => system.status(each) !== undefined);
      if (path === undefined) return { program, path, deletions: [] };
      return { program, path, deletions: parseDeletions(runLegacy(system, path, ["-S", "FORWARD"])) };
    });
}

/** Prints what the program says. Throws its complaint. */
export function runLegacy(system: System, path: string, args: readonly string[]): string {
  const environment = { PATH: FOLDERS.join(":") };
  const { status, output, errorOutput } = system.execute(path, {
    args: [...WAIT, ...args],
    environment,
    input: new Uint8Array(),
  });
  if (status === 0) return new TextDecoder().decode(output);
  throw new Error(`${path} ${args.join(" ")}: status ${status}: ${new TextDecoder().decode(errorOutput).trim()}`);
}

/** Of `-S FORWARD`: `-A FORWARD -s 10.244.0.0/16 -m comment --comment "weft: pods" -j ACCEPT`. */
export function parseDeletions(shown: string): string[][] {
  const marked = `--comment "${COMMENT}"`;
  return shown
    .split("\n")
    .filter((line) => line.startsWith("-A FORWARD ") && line.includes(marked))
    .map((line) =>
      line
        .replace(marked, "--comment \u0000")
        .split(" ")
        .map((word) => word.replace("\u0000", COMMENT)),
    )
    .map(([, ...words]) => ["-D", ...words]);
}

function isInUse(system: System, names: string): boolean {
  try {
    return new TextDecoder().decode(system.readFile(names)).split("\n").includes("filter");
  } catch (error) {
    if (isSystemError(error, "ENOENT")) return false;
    throw error;
  }
}
