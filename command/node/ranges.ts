/** What host-local makes of a subnet of the node's. */
import { ConfigObject } from "../../pkg/cni/config.ts";
import { formatPrefix, type Prefix } from "../../pkg/ip/prefix.ts";
import { type Range, readRangeSets } from "../../pkg/ipam/ranges.ts";

/** The addresses that pods of `subnet` may get. */
export function podRange(subnet: Prefix): Range {
  const ranges = [[{ subnet: formatPrefix(subnet) }]];
  const [range] = readRangeSets(new ConfigObject({ ranges }), new ConfigObject({})).flat();
  if (range === undefined) throw new Error(`no range in ${formatPrefix(subnet)}`);
  return range;
}
