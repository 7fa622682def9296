/** What the node's table of ports should hold for an attachment. Pure. */
import type { Result, ResultAddress } from "../../pkg/cni/result.ts";
import { isSameAddress } from "../../pkg/ip/address.ts";
import { contains, IPV4_LOOPBACK, networkOf, type Prefix } from "../../pkg/ip/prefix.ts";
import type { HostPort, PortMap, PortMapping } from "../../pkg/kernel/port-map.ts";
import type { PortmapConfig } from "./config.ts";

/**
 * The first address of each family that the container has on this interface: one that belongs to another interface of
 * the result does not count, one that names none does.
 */
export function podAddresses({ ips, interfaces }: Result, ifName: string): Prefix[] {
  const isElsewhere = ({ interface: at }: ResultAddress) => {
    const owner = at === undefined ? undefined : interfaces[at];
    return owner !== undefined && (owner.name !== ifName || !owner.sandbox);
  };
  const own = ips.filter((ip) => !isElsewhere(ip)).map(({ address }) => address);
  return ([4, 6] as const).flatMap((family) => own.find(({ address }) => address.family === family) ?? []);
}

/** A port of a family that the pod has no address of leads nowhere, and is left out as by the reference plugin. */
export function planPortMap(config: PortmapConfig, owner: string, addresses: readonly Prefix[]): PortMap {
  const maps = addresses.map((address) => planFamily(config, owner, address));
  return {
    mappings: maps.flatMap(({ mappings }) => mappings),
    masquerades: maps.flatMap(({ masquerades }) => masquerades),
  };
}

function planFamily({ ports, snat, masqAll, markBit }: PortmapConfig, owner: string, pod: Prefix): PortMap {
  const target = pod.address;
  const mappings = distinct(
    ports
      .filter(({ families }) => families.includes(target.family))
      .map(({ protocol, hostPort, hostAddress, containerPort }) => ({
        owner,
        host: { protocol, address: hostAddress, port: hostPort },
        target,
        targetPort: containerPort,
      })),
  );
  const hosts = mappings.map(({ host }) => host);
  const masquerades = snat
    ? hosts
        // Ranges must not overlap: the same port of all addresses speaks for this one too.
        .filter((host) => host.address === undefined || !hosts.some((other) => covers(other, host)))
        .flatMap((host) => masqueradedSources(pod, masqAll).map((source) => ({ owner, host, source, markBit })))
    : [];
  return { mappings, masquerades };
}

function distinct(mappings: readonly PortMapping[]): PortMapping[] {
  return mappings.filter((mapping, at) => mappings.findIndex(({ host }) => isSameHost(host, mapping.host)) === at);
}

function isSamePort(a: HostPort, b: HostPort): boolean {
  return a.protocol === b.protocol && a.port === b.port;
}

function isSameHost(a: HostPort, b: HostPort): boolean {
  if (!isSamePort(a, b)) return false;
  if (a.address === undefined || b.address === undefined) return a.address === b.address;
  return isSameAddress(a.address, b.address);
}

function covers(all: HostPort, single: HostPort): boolean {
  return all.address === undefined && isSamePort(all, single);
}

/**
 * Whose connections get the node's address: the pod's own subnet, whose replies would go past the node, and IPv4's
 * loopback (IPv6 never routes ::1). With `masqAll` everybody's.
 */
function masqueradedSources(pod: Prefix, masqAll: boolean): Prefix[] {
  const { family } = pod.address;
  if (masqAll) return [{ address: { family, value: 0n }, length: 0 }];
  const subnet = networkOf(pod);
  return family === 4 && !contains(subnet, IPV4_LOOPBACK.address) ? [subnet, IPV4_LOOPBACK] : [subnet];
}
