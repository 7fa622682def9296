/** Classes of ports that rules distinguish: each rule matches either all ports of a class or none. */
import type { PortRange } from "../cluster/policy/network-policy.ts";
import type { Protocol } from "../cluster/service/service.ts";

export interface ProtocolPorts extends PortRange {
  readonly protocol: Protocol;
}

export const ALL_PORTS: PortRange = { first: 0, last: 65_535 };

const PROTOCOLS: readonly Protocol[] = [6, 17, 132];

/**
 * Partitions the ports of each protocol that occurs in `ranges`. A protocol that does not occur has no class: only rules
 * without ports match it.
 */
export function partitionPorts(ranges: readonly ProtocolPorts[]): ProtocolPorts[] {
  return PROTOCOLS.flatMap((protocol) => {
    const own = ranges.filter((range) => range.protocol === protocol);
    if (own.length === 0) return [];
    const starts = new Set(own.flatMap(({ first, last }) => [first, last + 1]));
    const cuts = [...starts.add(ALL_PORTS.first)].filter((start) => start <= ALL_PORTS.last).sort((a, b) => a - b);
    return cuts.map((first, at) => ({ protocol, first, last: (cuts[at + 1] ?? ALL_PORTS.last + 1) - 1 }));
  });
}

/** True if `range` contains the class, which a partition by it never cuts. */
export function includesPorts(range: ProtocolPorts, { protocol, first }: ProtocolPorts): boolean {
  return range.protocol === protocol && range.first <= first && first <= range.last;
}
