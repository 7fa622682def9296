/** Counts how many of this node's addresses pods use, in host-local's directory, at the time of the call. */

import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { ConfigObject } from "../../../pkg/cni/config.ts";
import { DEFAULT_HOST_LOCAL_DIR } from "../../../pkg/footprint.ts";
import { AddressError, parseAddress } from "../../../pkg/ip/address.ts";
import { formatPrefix, type Prefix } from "../../../pkg/ip/prefix.ts";
import { capacityOf, isWithin, type Range, readRangeSets } from "../../../pkg/ipam/ranges.ts";
import type { AddressUse } from "../../core/metrics.ts";
import { namesOf, type Predecessor } from "../../sources/predecessor.ts";

/** Returns the directory of reservations that the conflist specifies. */
export function reservationsFolder(predecessor: Predecessor | undefined): string {
  const { dataDir } = predecessor?.ipam ?? {};
  return join(
    typeof dataDir === "string" && dataDir !== "" ? dataDir : DEFAULT_HOST_LOCAL_DIR,
    namesOf(predecessor).network,
  );
}

/** Returns the counts; empty if the directory cannot be read, as for a weftd that does not see the host's files. */
export async function countAddresses(folder: string, subnets: readonly Prefix[]): Promise<AddressUse[]> {
  let names: readonly string[];
  try {
    names = await readdir(folder);
  } catch {
    return [];
  }
  const addresses = names.flatMap((name) => {
    try {
      return [parseAddress(name)];
    } catch (error) {
      if (error instanceof AddressError) return [];
      throw error;
    }
  });
  return subnets.map((subnet) => {
    const range = rangeOf(subnet);
    return {
      subnet: formatPrefix(subnet),
      used: addresses.filter((address) => isWithin(range, address)).length,
      capacity: Number(capacityOf(range)),
    };
  });
}

/** Returns the range that host-local derives from the conflist. */
function rangeOf(subnet: Prefix): Range {
  const ranges = [[{ subnet: formatPrefix(subnet) }]];
  const [range] = readRangeSets(new ConfigObject({ ranges }), new ConfigObject({})).flat();
  if (range === undefined) throw new Error(`no range in ${formatPrefix(subnet)}`);
  return range;
}
