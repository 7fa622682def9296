/** What is reserved on this node, by network, with what the runtime's configurations say of ranges. */

import { ConfigObject } from "../../pkg/cni/config.ts";
import { CniError } from "../../pkg/cni/errors.ts";
import { parseJsonObject } from "../../pkg/cni/network.ts";
import { formatAddress } from "../../pkg/ip/address.ts";
import { type Range, readRangeSets } from "../../pkg/ipam/ranges.ts";
import { type Reservation, readReservations } from "../../pkg/ipam/reservation.ts";
import { isSystemError } from "../../pkg/sys/errors.ts";
import type { System } from "../../pkg/sys/system.ts";

/** With the time at which it was made. */
export interface Dated extends Reservation {
  readonly modifiedMs: number;
}

export interface Network {
  readonly name: string;
  readonly directory: string;
  readonly reservations: readonly Dated[];
  /** Of the configurations that name this network; none where there is no such configuration any more. */
  readonly ranges: readonly Range[];
}

export interface Places {
  readonly dataDir: string;
  readonly confDir: string;
}

/** Sorted by name. Empty where the directory is not there. Throws `SystemError`. */
export function readReservedNetworks(system: System, { dataDir, confDir }: Places): Network[] {
  const ranges = readRanges(system, confDir);
  return (
    namesIn(system, dataDir)
      // Networks' names begin with a letter or a digit; what begins otherwise is host-local's own.
      .filter((name) => /^[A-Za-z0-9]/.test(name) && system.status(`${dataDir}/${name}`)?.kind === "directory")
      .sort()
      .map((name) => {
        const directory = `${dataDir}/${name}`;
        const reservations = readReservations(system, directory)
          .flatMap((found) => {
            const status = system.status(`${directory}/${formatAddress(found.address)}`);
            return status === undefined ? [] : [{ ...found, modifiedMs: status.modifiedMs }];
          })
          .sort(byAddress);
        return { name, directory, reservations, ranges: ranges.get(name) ?? [] };
      })
  );
}

function byAddress({ address: one }: Reservation, { address: other }: Reservation): number {
  if (one.family !== other.family) return one.family - other.family;
  return one.value < other.value ? -1 : one.value > other.value ? 1 : 0;
}

/** Network -> ranges. A configuration that cannot be read has none: that is its plugin's to tell. */
function readRanges(system: System, confDir: string): Map<string, Range[]> {
  const found = new Map<string, Range[]>();
  for (const name of namesIn(system, confDir)
    .filter((each) => /\.(conf|conflist|json)$/.test(each))
    .sort()) {
    try {
      const config = new ConfigObject(parseJsonObject(system.readFile(`${confDir}/${name}`), name));
      const plugins = config.has("plugins") ? config.objectList("plugins") : [config];
      for (const ipam of plugins.map((plugin) => plugin.object("ipam"))) {
        if (ipam.value("type") !== "host-local") continue;
        const network = config.requiredString("name");
        const ranges = readRangeSets(ipam, new ConfigObject({})).flat();
        found.set(network, [...(found.get(network) ?? []), ...ranges]);
      }
    } catch (error) {
      if (!(error instanceof CniError) && !isSystemError(error, "ENOENT", "EISDIR")) throw error;
    }
  }
  return found;
}

function namesIn(system: System, directory: string): string[] {
  try {
    return system.readDirectory(directory);
  } catch (error) {
    if (isSystemError(error, "ENOENT", "ENOTDIR")) return [];
    throw error;
  }
}
