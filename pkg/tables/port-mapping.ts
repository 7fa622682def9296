/** The mapping of the node's ports to pods, as data. */
import { type Address, addressKey } from "../ip/address.ts";
import type { Prefix } from "../ip/prefix.ts";
import type { PortCondition } from "./port-condition.ts";

/** A port of the node. */
export interface HostPort {
  /** IPPROTO_* */
  readonly protocol: number;
  /** One of the node's addresses; undefined for all of a family. */
  readonly address: Address | undefined;
  readonly port: number;
  /** Limits the port to these connections; with `address`, the condition's destination contains it. */
  readonly condition?: PortCondition;
}

/** Equal for the same port of the same addresses; ignores the condition. */
export function hostPortKey({ protocol, address: single, port }: HostPort): string {
  return `${protocol} ${port} ${single === undefined ? "" : addressKey(single)}`;
}

/** The target of connections to a port of the node; `owner` is the attachment's mark (at most 127 bytes). */
export interface PortMapping {
  readonly owner: string;
  readonly host: HostPort;
  /** Its family is the mapping's family. */
  readonly target: Address;
  readonly targetPort: number;
}

/** Connections from `source` to a mapped port are masqueraded with the node's address. */
export interface PortMasquerade {
  readonly owner: string;
  readonly host: HostPort;
  /** The last port, if the entry covers several ports from `host.port` on. */
  readonly lastPort?: number;
  /** Its family is the mapping's family. */
  readonly source: Prefix;
  /** The bit of the packet's mark that selects these connections: 0 to 31. */
  readonly markBit: number;
}

export interface PortMap {
  readonly mappings: readonly PortMapping[];
  readonly masquerades: readonly PortMasquerade[];
}

export const EMPTY_PORT_MAP: PortMap = { mappings: [], masquerades: [] };

/** Groups mappings by the port of the node. */
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
