import type { Prefix } from "../../../pkg/ip/prefix.ts";
import type { NodeChoice } from "../facts.ts";

/** Returns the pods' networks of the families for which this node has pod subnets. */
export function podRanges({ node, networks }: Pick<NodeChoice, "node" | "networks">): readonly Prefix[] {
  const families = new Set(node.subnets.map(({ address }) => address.family));
  return networks.filter(({ address }) => families.has(address.family));
}
