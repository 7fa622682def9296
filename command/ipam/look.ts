/** The reservations with a verdict on each: what both `weft ipam` subcommands, and the doctor, look at. */

import { CACHE_DIRECTORIES, DEFAULT_HOST_LOCAL_DIR, MARK_START } from "../../pkg/footprint.ts";
import type { System } from "../../pkg/sys/system.ts";
import { type Obstacle, readNamespaces } from "../node/namespaces.ts";
import { CommandError, ExitStatus } from "../outcome.ts";
import type { TextOption } from "../subcommand.ts";
import { type Dated, type Network, type Places, readReservedNetworks } from "./reservations.ts";
import { CachedResults } from "./results.ts";
import { judge, type Verdict } from "./verdict.ts";

export const DATA_DIR = {
  kind: "text",
  value: "DIR",
  about: "host-local's reservations (ipam.dataDir)",
  default: DEFAULT_HOST_LOCAL_DIR,
  completes: "directory",
} as const satisfies TextOption;

export const CACHE_DIR = {
  kind: "text",
  value: "DIR",
  about: "the runtime's results of ADD, beside those in /var/lib/cni",
  completes: "directory",
} as const satisfies TextOption;

/** An ADD that takes longer was given up by every runtime. */
export const GRACE_MS = 10 * 60_000;

/**
 * Those that an operator asked for: all of them, or `name` alone. Throws `CommandError` where there is no such network, and
 * where `dataDir` is no directory; only the usual one may be absent, on a node where nothing was ever reserved.
 */
export function askedFor(
  networks: readonly JudgedNetwork[],
  { dataDir, name }: { readonly dataDir: string; readonly name: string | undefined },
  system: System,
): readonly JudgedNetwork[] {
  const status = system.status(dataDir);
  if (status === undefined ? dataDir !== DATA_DIR.default : status.kind !== "directory") {
    throw new CommandError(`${dataDir} is no directory`, {
      status: ExitStatus.usage,
      remedy: "Nothing was done. It has to be the dataDir of the network's host-local configuration.",
    });
  }
  const asked = name === undefined ? networks : networks.filter((network) => network.name === name);
  if (name !== undefined && asked.length === 0) {
    const others = networks.map((network) => network.name).join(", ");
    throw new CommandError(`there is no network ${JSON.stringify(name)} in ${dataDir}`, {
      status: ExitStatus.usage,
      remedy: `Nothing was done. Networks there: ${others || "none"}.`,
    });
  }
  return asked;
}

export interface JudgedNetwork extends Network {
  readonly judged: readonly (Dated & Verdict)[];
}

export interface Look {
  readonly networks: readonly JudgedNetwork[];
  /** Network namespaces that were looked into. */
  readonly namespaceCount: number;
  /** Why there may be others: then no reservation is taken for leaked. */
  readonly obstacle: Obstacle | undefined;
}

/** Changes nothing and waits for no lock. Throws `SystemError` and `NetlinkError`. */
export function lookAtReservations(
  system: System,
  places: Places,
  { graceMs = GRACE_MS, cacheDir }: { graceMs?: number; cacheDir?: string | undefined } = {},
): Look {
  // First what is reserved, then what lives: whatever got its address in between is not taken for leaked.
  const networks = readReservedNetworks(system, places);
  const { addresses, aliases, count, obstacle, views } = readNamespaces(system);
  const results = new CachedResults(system, { directories: CACHE_DIRECTORIES, own: cacheDir, views });
  const marks = aliases.filter(({ alias }) => alias.startsWith(MARK_START));
  const evidence = {
    addresses,
    isComplete: obstacle === undefined,
    marks: new Map(marks.map(({ alias, ifName, namespace }) => [alias, `${ifName} in ${namespace}`])),
    resultOf: results.find.bind(results),
    nowMs: system.now(),
    graceMs,
  };
  const judgedOf = ({ name, reservations }: Network) =>
    reservations.map((reservation) => ({ ...reservation, ...judge(name, reservation, evidence) }));
  return {
    networks: networks.map((network) => ({ ...network, judged: judgedOf(network) })),
    namespaceCount: count,
    obstacle,
  };
}
