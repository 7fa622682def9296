/** Ports of the node that lead to pods: what is wanted, as data. */
import { type Address, addressKey } from "../ip/address.ts";
import type { Prefix } from "../ip/prefix.ts";
import type { PortCondition } from "./port-condition.ts";

/** A port of the node as connections ask for it. */
export interface HostPort {
  /** IPPROTO_* */
  readonly protocol: number;
  /** One of the node's addresses; undefined for all of a family. */
  readonly address: Address | undefined;
  readonly port: number;
  /** Only these connections; with `address`, its destination holds that address. */
  readonly condition?: PortCondition;
}

/** Equal for the same port of the same addresses, whatever the condition. */
export function hostPortKey({ protocol, address: single, port }: HostPort): string {
  return `${protocol} ${port} ${single === undefined ? "" : addressKey(single)}`;
}

/** Where connections to a port of the node go; `owner` is the attachment's mark (at most 127 bytes). */
export interface PortMapping {
  readonly owner: string;
  readonly host: HostPort;
  /** Its family is the mapping's. */
  readonly target: Address;
  readonly targetPort: number;
}

/** Connections from `source` to a mapped port get the node's address as their source. */
export interface PortMasquerade {
  readonly owner: string;
  readonly host: HostPort;
  /** Where the entry is for all ports from `host.port` to this one. */
  readonly lastPort?: number;
  /** Its family is the mapping's. */
  readonly source: Prefix;
  /** The bit of the packet's mark that tells them: 0 to 31. */
  readonly markBit: number;
}

export interface PortMap {
  readonly mappings: readonly PortMapping[];
  readonly masquerades: readonly PortMasquerade[];
}

export const EMPTY_PORT_MAP: PortMap = { mappings: [], masquerades: [] };

/** By the port of the node. */
export function mappingsByPort(mappings: readonly PortMapping[]): ReadonlyMap<number, readonly PortMapping[]> {
  const ports = new Map<number, PortMapping[]>();
  for (const mapping of mappings) {
    const { port } = mapping.host;
    const same = ports.get(port);
    if (same === undefined) ports.set(port, [mapping]);
    else same.push(mapping);
  }
  return ports;
}
