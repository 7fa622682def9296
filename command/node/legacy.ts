/** Reads iptables-legacy's tables. They are not part of nf_tables, so only iptables-legacy shows them. */
import { LEGACY_TABLE_NAMES } from "../../pkg/foreign/legacy-names.ts";
import type { Family } from "../../pkg/ip/address.ts";
import { isSystemError } from "../../pkg/sys/errors.ts";
import type { System } from "../../pkg/sys/system.ts";
import { CommandError } from "../outcome.ts";

/** Returns the families whose table `filter` is in use. */
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
/** iptables-legacy has its own lock. Other programs hold it for long if there are thousands of rules. */
const WAIT = ["-w", "5"];

export interface LegacyProgram {
  readonly name: string;
  /** Undefined if the program is not installed. */
  readonly path: string | undefined;
}

/** Returns the program that reads and changes the family's legacy tables. */
export function legacyProgram(system: System, family: Family): LegacyProgram {
  const name = PROGRAM[family];
  const paths = FOLDERS.map((folder) => `${folder}/${name}`);
  return { name, path: paths.find((path) => system.status(path) !== undefined) };
}

/** Returns the program's output. Throws a `CommandError` with the program's error message. */
export function runLegacy(system: System, path: string, args: readonly string[]): string {
  const environment = { PATH: FOLDERS.join(":") };
  const asked = { args: [...WAIT, ...args], environment, input: new Uint8Array() };
  const { status, output, errorOutput } = system.execute(path, asked);
  if (status === 0) return new TextDecoder().decode(output);
  const complaint = new TextDecoder().decode(errorOutput).trim();
  throw new CommandError(`${path} ${args.join(" ")}: exit status ${status}: ${complaint}`);
}
