/** The list of all subcommands. */

import { cleanup } from "./cleanup/main.ts";
import { completions } from "./completions/main.ts";
import { doctor } from "./doctor/main.ts";
import { explain } from "./explain/main.ts";
import { install } from "./install/main.ts";
import { ipamGc } from "./ipam/gc.ts";
import { ipamLs } from "./ipam/ls.ts";
import { policies } from "./policies/main.ts";
import { restore } from "./restore/main.ts";
import { services } from "./services/main.ts";
import { status } from "./status/main.ts";
import type { Subcommand } from "./subcommand.ts";
import { version } from "./version/main.ts";

export const SUBCOMMANDS: readonly Subcommand[] = [
  status,
  services,
  policies,
  doctor,
  explain,
  ipamLs,
  install,
  ipamGc,
  restore,
  cleanup,
  completions,
  version,
];

/** Descriptions of first words that several subcommands share. */
export const FAMILIES: Readonly<Record<string, string>> = {
  ipam: "Manage the addresses that host-local has reserved on this node",
};
