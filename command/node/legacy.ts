/** iptables-legacy's tables: no part of nf_tables, so that only its own program shows them. */
import type { Family } from "../../pkg/ip/address.ts";
import { isSystemError } from "../../pkg/sys/errors.ts";
import type { System } from "../../pkg/sys/system.ts";

/** Names of the tables in use, one a line; absent where the kernel has none. */
const TABLE_NAMES = { 4: "/proc/net/ip_tables_names", 6: "/proc/net/ip6_tables_names" } as const;

/** Families whose table `filter` is in use. */
export function readLegacyFamilies(system: System): Family[] {
  return ([4, 6] as const).filter((family) => namesOf(system, family).includes("filter"));
}

function namesOf(system: System, family: Family): string[] {
  try {
    return new TextDecoder().decode(system.readFile(TABLE_NAMES[family])).split("\n");
  } catch (error) {
    if (isSystemError(error, "ENOENT", "EACCES", "EPERM")) return [];
    throw error;
  }
}
