/** Reads the reservations on this node by network, with the ranges of the runtime's configurations. */

import { ConfigObject } from "../../pkg/cni/config.ts";
import { CniError } from "../../pkg/cni/errors.ts";
import { formatAddress } from "../../pkg/ip/address.ts";
import { type Range, readRangeSets } from "../../pkg/ipam/ranges.ts";
import { type Reservation, readReservations } from "../../pkg/ipam/reservation.ts";
import type { System } from "../../pkg/sys/system.ts";
import { namesIn, readNetworks } from "../node/networks.ts";

/** A reservation, and the time at which it was made. */
export interface Dated extends Reservation {
  readonly modifiedMs: number;
}

export interface Network {
  readonly name: string;
  readonly directory: string;
  readonly reservations: readonly Dated[];
  /** Ranges of the configurations with this network's name. Empty if there is none. */
  readonly ranges: readonly Range[];
}

export interface Places {
  readonly dataDir: string;
  readonly confDir: string;
}

/** Sorted by name. Empty if the directory does not exist. Throws `SystemError`. */
export function readReservedNetworks(system: System, { dataDir, confDir }: Places): Network[] {
  const ranges = readRanges(system, confDir);
  return (
    namesIn(system, dataDir)
      // Names of networks begin with a letter or a digit. Other names are host-local's own files.
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

/** Returns network -> ranges. An invalid configuration has no ranges; its plugin reports the error. */
function readRanges(system: System, confDir: string): Map<string, Range[]> {
  const found = new Map<string, Range[]>();
  for (const { network, plugins } of readNetworks(system, confDir).files) {
    const ranges = plugins.flatMap((plugin) => rangesOf(plugin));
    found.set(network, [...(found.get(network) ?? []), ...ranges]);
  }
  return found;
}

function rangesOf(plugin: ConfigObject): Range[] {
  try {
    const ipam = plugin.object("ipam");
    return ipam.value("type") === "host-local" ? readRangeSets(ipam, new ConfigObject({})).flat() : [];
  } catch (error) {
    if (error instanceof CniError) return [];
    throw error;
  }
}
