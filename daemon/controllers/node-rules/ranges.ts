import type { Prefix } from "../../../pkg/ip/prefix.ts";
import type { NodeChoice } from "../facts.ts";

/** Pods' networks, of the families that this node has pods of. */
export function podRanges({ node, networks }: Pick<NodeChoice, "node" | "networks">): readonly Prefix[] {
  const families = new Set(node.subnets.map(({ address }) => address.family));
  return networks.filter(({ address }) => families.has(address.family));
}
