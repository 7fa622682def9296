/** Computes what the node's table of ports should have for an attachment. Pure. */

import type { Result } from "../../cni/result.ts";
import { contains, IPV4_LOOPBACK, networkOf, type Prefix } from "../../ip/prefix.ts";
import { addressSpan, commonSpan, prefixSpan } from "../../ip/span.ts";
import type { PortCondition } from "../../tables/port-condition.ts";
import { type HostPort, hostPortKey, type PortMap, type PortMapping } from "../../tables/port-mapping.ts";
import { ownAddresses } from "../addresses.ts";
import type { PortmapConfig } from "./config.ts";

/** Returns the first address of each family that the pod has on this interface. */
export function podAddresses(result: Result, ifName: string): Prefix[] {
  const own = ownAddresses(result, ifName).map(({ address }) => address);
  return ([4, 6] as const).flatMap((family) => own.find(({ address }) => address.family === family) ?? []);
}

/** A port in a family in which the pod has no address is left out, as in the reference plugin. */
export function planPortMap(config: PortmapConfig, owner: string, addresses: readonly Prefix[]): PortMap {
  const maps = addresses.map((address) => planFamily(config, owner, address));
  return {
    mappings: maps.flatMap(({ mappings }) => mappings),
    masquerades: maps.flatMap(({ masquerades }) => masquerades),
  };
}

function planFamily(config: PortmapConfig, owner: string, pod: Prefix): PortMap {
  const { ports, snat, masqAll, markBit } = config;
  const target = pod.address;
  const conditions = config.conditions[target.family];
  const mappings = distinct(
    ports
      .filter(({ families }) => families.includes(target.family))
      .map(({ protocol, hostPort, hostAddress, containerPort }) => ({
        owner,
        host: { protocol, address: hostAddress, port: hostPort },
        target,
        targetPort: containerPort,
      })),
  ).flatMap((mapping) => hostsOf(mapping.host, conditions).map((host) => ({ ...mapping, host })));
  const sources = snat ? masqueradedSources(pod, masqAll) : [];
  const masquerades = mappings.flatMap(({ host }) =>
    sources.filter((source) => hasSource(host, source)).map((source) => ({ owner, host, source, markBit })),
  );
  return { mappings, masquerades };
}

/** Returns the port once for each condition that connections to it can satisfy. */
function hostsOf(host: HostPort, conditions: readonly PortCondition[] | undefined): HostPort[] {
  if (conditions === undefined) return [host];
  const { address } = host;
  if (address === undefined) return conditions.map((condition) => ({ ...host, condition }));
  const destination = addressSpan(address);
  return conditions
    .filter((condition) => commonSpan(condition.destination, destination) !== undefined)
    .map((condition) => ({ ...host, condition: { ...condition, destination } }));
}

function hasSource({ condition }: HostPort, source: Prefix): boolean {
  return condition === undefined || commonSpan(condition.source, prefixSpan(source)) !== undefined;
}

function distinct(mappings: readonly PortMapping[]): PortMapping[] {
  const byHost = new Map<string, PortMapping>();
  for (const mapping of mappings) {
    const key = hostPortKey(mapping.host);
    if (!byHost.has(key)) byHost.set(key, mapping);
  }
  return [...byHost.values()];
}

/**
 * Returns the sources whose connections are masqueraded with the node's address: the pod's own subnet, whose replies
 * would bypass the node, and IPv4's loopback (IPv6 never routes ::1). With `masqAll`, all sources.
 */
function masqueradedSources(pod: Prefix, masqAll: boolean): Prefix[] {
  const { family } = pod.address;
  if (masqAll) return [{ address: { family, value: 0n }, length: 0 }];
  const subnet = networkOf(pod);
  return family === 4 && !contains(subnet, IPV4_LOOPBACK.address) ? [subnet, IPV4_LOOPBACK] : [subnet];
}
