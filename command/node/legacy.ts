/** iptables-legacy's tables: no part of nf_tables, so that only its own program shows them. */
import { LEGACY_TABLE_NAMES } from "../../pkg/foreign/legacy-names.ts";
import type { Family } from "../../pkg/ip/address.ts";
import { isSystemError } from "../../pkg/sys/errors.ts";
import type { System } from "../../pkg/sys/system.ts";
import { CommandError } from "../outcome.ts";

/** Families whose table `filter` is in use. */
export function readLegacyFamilies(system: System): Family[] {
  return ([4, 6] as const).filter((family) => namesOf(system, family).includes("filter"));
}

function namesOf(system: System, family: Family): string[] {
  try {
    return new TextDecoder().decode(system.readFile(LEGACY_TABLE_NAMES[family])).split("\n");
  } catch (error) {
    if (isSystemError(error, "ENOENT", "EACCES", "EPERM")) return [];
    throw error;
  }
}

const PROGRAM = { 4: "iptables-legacy", 6: "ip6tables-legacy" } as const;
const FOLDERS = ["/usr/sbin", "/sbin", "/usr/local/sbin"];
/** iptables-legacy has a lock of its own, which others hold for long where they have thousands of rules. */
const WAIT = ["-w", "5"];

export interface LegacyProgram {
  readonly name: string;
  /** `undefined` where it is not on this node. */
  readonly path: string | undefined;
}

/** What the family's legacy tables are looked at and changed with. */
export function legacyProgram(system: System, family: Family): LegacyProgram {
  const name = PROGRAM[family];
  const paths = FOLDERS.map((folder) => `${folder}/${name}`);
  return { name, path: paths.find((path) => system.status(path) !== undefined) };
}

/** What it prints. Throws its complaint, a `CommandError`. */
export function runLegacy(system: System, path: string, args: readonly string[]): string {
  const environment = { PATH: FOLDERS.join(":") };
  const asked = { args: [...WAIT, ...args], environment, input: new Uint8Array() };
  const { status, output, errorOutput } = system.execute(path, asked);
  if (status === 0) return new TextDecoder().decode(output);
  const complaint = new TextDecoder().decode(errorOutput).trim();
  throw new CommandError(`${path} ${args.join(" ")}: exit status ${status}: ${complaint}`);
}
