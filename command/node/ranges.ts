/** The range that host-local assigns addresses from, for a subnet of the node. */
import { ConfigObject } from "../../pkg/cni/config.ts";
import { formatPrefix, type Prefix } from "../../pkg/ip/prefix.ts";
import { type Range, readRangeSets } from "../../pkg/ipam/ranges.ts";

/** Returns the range of addresses for pods of `subnet`. */
export function podRange(subnet: Prefix): Range {
  const ranges = [[{ subnet: formatPrefix(subnet) }]];
  const [range] = readRangeSets(new ConfigObject({ ranges }), new ConfigObject({})).flat();
  if (range === undefined) throw new Error(`no range in ${formatPrefix(subnet)}`);
  return range;
}
