/**
 * ADD and DEL of an attachment's ports by key, if the node's table has an intact stamp. The number of requests and their
 * size do not depend on the number of ports on the node. If the kernel refuses the transaction, or the result is
 * undefined, the caller compares the table (`port-map.ts`), which names holders and repairs.
 */
import type { BlockingNetlink } from "../netlink/blocking.ts";
import { readElements } from "../nft/comparison.ts";
import { readStamped } from "../nft/stamp.ts";
import { addElements, deleteFromSet, elementRequest } from "../nft/table.ts";
import { WHOLE_TABLE } from "./port-map.ts";
import { isIndexed, ownerLookup } from "./port-map-index.ts";
import { hasParts, partsOf, partsOfStamp, portMapElements } from "./port-map-table.ts";
import type { PortMap, PortMapping } from "./port-mapping.ts";

/**
 * Adds `wanted`, the ports of an attachment that has none. False if the table is not as it should be. Throws
 * `NetlinkError`, EEXIST among others if a port is taken, and then has changed nothing.
 *
 * No generation is needed: each conflict of two attachments is an element that both create. The kernel does not see
 * whether conditions overlap, so ports with conditions are not added in this way.
 */
export function addByKey(netfilter: BlockingNetlink, wanted: PortMap): boolean {
  if (wanted.mappings.some(({ host }) => host.condition !== undefined)) return false;
  const { parts } = readStamped(netfilter, WHOLE_TABLE);
  if (parts === undefined || !hasParts(partsOfStamp(parts), partsOf(wanted))) return false;
  netfilter.commit(portMapElements(wanted).flatMap(({ set, wire }) => addElements(WHOLE_TABLE, set, { wire })));
  return true;
}

/**
 * Removes and returns the ports of `owner`. Undefined if the table is not as it should be, or if the index does not
 * have exactly the ports of `expected`. Throws `NetlinkError`, ENOENT among others if an element is missing, and then
 * has changed nothing.
 */
export function removeByKey(
  netfilter: BlockingNetlink,
  owner: string,
  expected: PortMap,
): readonly PortMapping[] | undefined {
  const lookup = ownerLookup(owner);
  const { exists, parts, answers } = readStamped(netfilter, WHOLE_TABLE, [elementRequest(WHOLE_TABLE, lookup)]);
  if (!exists) return [];
  if (parts === undefined) return undefined;
  const [entry] = readElements(WHOLE_TABLE, answers).get(lookup.name) ?? [];
  // Another program may have removed the entry without the ports.
  if (entry === undefined) return expected.mappings.length === 0 ? [] : undefined;
  const sets = portMapElements(expected);
  if (!isIndexed(sets, owner, entry)) return undefined;
  netfilter.commit(sets.flatMap(({ set, wire }) => deleteFromSet(WHOLE_TABLE, set.name, wire)));
  return expected.mappings;
}
