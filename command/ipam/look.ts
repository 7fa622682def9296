/** Reads the reservations and judges each. Used by both `weft ipam` subcommands and by doctor. */

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
  about: "the directory of host-local's reservations (ipam.dataDir)",
  default: DEFAULT_HOST_LOCAL_DIR,
  completes: "directory",
} as const satisfies TextOption;

export const CACHE_DIR = {
  kind: "text",
  value: "DIR",
  about: "another directory of the runtime's cached results, besides those in /var/lib/cni",
  completes: "directory",
} as const satisfies TextOption;

/** The time after which every runtime has given up on an ADD. */
export const GRACE_MS = 10 * 60_000;

/**
 * Returns all networks, or only the network `name`. Throws `CommandError` if there is no such network, or if `dataDir`
 * is not a directory. Only the default directory may be missing, on a node where no address was ever reserved.
 */
export function askedFor(
  networks: readonly JudgedNetwork[],
  { dataDir, name }: { readonly dataDir: string; readonly name: string | undefined },
  system: System,
): readonly JudgedNetwork[] {
  const status = system.status(dataDir);
  if (status === undefined ? dataDir !== DATA_DIR.default : status.kind !== "directory") {
    throw new CommandError(`${dataDir} is not a directory`, {
      status: ExitStatus.usage,
      remedy: "Nothing was changed. Give the dataDir of the network's host-local configuration.",
    });
  }
  const asked = name === undefined ? networks : networks.filter((network) => network.name === name);
  if (name !== undefined && asked.length === 0) {
    const others = networks.map((network) => network.name).join(", ");
    throw new CommandError(`there is no network ${JSON.stringify(name)} in ${dataDir}`, {
      status: ExitStatus.usage,
      remedy: `Nothing was changed. Existing networks: ${others || "none"}.`,
    });
  }
  return asked;
}

export interface JudgedNetwork extends Network {
  readonly judged: readonly (Dated & Verdict)[];
}

export interface Look {
  readonly networks: readonly JudgedNetwork[];
  /** The number of network namespaces that were read. */
  readonly namespaceCount: number;
  /** Why some namespaces may not have been read. No reservation counts as leaked then. */
  readonly obstacle: Obstacle | undefined;
}

/** Changes nothing, and waits for no lock. Throws `SystemError` and `NetlinkError`. */
export function lookAtReservations(
  system: System,
  places: Places,
  { graceMs = GRACE_MS, cacheDir }: { graceMs?: number; cacheDir?: string | undefined } = {},
): Look {
  // Reservations are read first, then interfaces, so an address that was configured in between does not count as
  // leaked.
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
