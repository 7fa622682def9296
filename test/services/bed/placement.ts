/** Assigns the addresses of a case of the rows to hosts, with the servers on them. */
import { parseSloppyAddress } from "../../../pkg/cluster/service/sloppy.ts";
import { formatAddress, parseAddress } from "../../../pkg/ip/address.ts";
import { contains, parsePrefix } from "../../../pkg/ip/prefix.ts";
import { specialKind } from "../../../pkg/services/special-address.ts";
import type { Listening } from "../../live/harness/probe.ts";
import { type Case, NODE_NAME, type Row } from "../rows.ts";
import { device, type Host, nextHop } from "./topology.ts";

/** Another node's own address, for rows with packets from there. */
const OTHER_NODES = ["192.168.0.3", "fd77:77::c0a8:3"];

/** Pods that are not endpoints are on this node. */
const PODS = ["10.0.0.0/8", "fd00:10::/64", "fd77:77::a00:0/104"].map(parsePrefix);

/** Destination ports of the rows. If a packet arrives that a Service should have translated, a server must answer. */
const CATCH_PORTS = [53, 80, 443, 3001, 3002, 3003, 5353, 8080, 8443];

/** With UDP, an answer would come from an address other than the requested one; see `Listening`. */
const CATCH_ALL: readonly Listening[] = CATCH_PORTS.map((port) => ({ address: "::", port, transport: "tcp" }));

/** Hosts that listen at addresses of the case. */
export const SERVERS = ["node", "pods", "remote", "other", "beyond"] as const;
type Server = (typeof SERVERS)[number];

interface SliceObject {
  readonly endpoints?: readonly { readonly addresses: readonly string[]; readonly nodeName?: string }[];
  readonly ports?: readonly { readonly port: number; readonly protocol: Row["protocol"] }[];
}

export interface Placement {
  /** Without the addresses of links. */
  readonly addresses: ReadonlyMap<string, Host>;
  readonly listening: Readonly<Record<Server, readonly Listening[]>>;
}

export function placementOf(one: Case): Placement {
  const addresses = new Map<string, Host>();
  const listening: Record<Server, Listening[]> = { node: [...CATCH_ALL], pods: [], remote: [], other: [], beyond: [] };
  for (const address of [...one.nodeAddresses, ...one.boundToNode]) addresses.set(address, "node");
  for (const { endpoints = [], ports = [] } of one.slices as readonly SliceObject[]) {
    for (const {
      addresses: [text = ""],
      nodeName,
    } of endpoints) {
      const address = formatAddress(parseSloppyAddress(text));
      const host = nodeName === NODE_NAME ? "pods" : "remote";
      if (!addresses.has(address) && !isNowhere(address, one)) addresses.set(address, host);
      for (const { port, protocol } of ports) {
        const transport = TRANSPORTS[protocol];
        if (transport === undefined || addresses.get(address) !== host) continue;
        if (!isIn(listening[host], address, port, transport)) listening[host].push({ address, port, transport });
      }
    }
  }
  for (const { from } of one.rows) if (!addresses.has(from)) addresses.set(from, sourceHost(from));
  for (const { to, port, protocol } of one.rows) {
    if (!addresses.has(to)) addresses.set(to, OTHER_NODES.includes(to) ? "other" : "beyond");
    const host = addresses.get(to);
    const transport = TRANSPORTS[protocol];
    const isCaught = host === "beyond" || host === "other" || (host === "node" && transport === "udp");
    if (transport === undefined || !isCaught) continue;
    if (!isIn(listening[host], to, port, transport)) listening[host].push({ address: to, port, transport });
  }
  return { addresses, listening };
}

const TRANSPORTS = { TCP: "tcp", UDP: "udp", SCTP: undefined } as const;

const isIn = (list: readonly Listening[], address: string, port: number, transport: Listening["transport"]) =>
  list.some((one) => one.address === address && one.port === port && one.transport === transport);

/** A Service's address, or one that no host has. */
function isNowhere(text: string, { serviceCIDRs }: Case): boolean {
  const address = parseAddress(text);
  if (specialKind(address) !== undefined) return true;
  return serviceCIDRs.some((range) => contains(parsePrefix(range), address));
}

function sourceHost(address: string): Host {
  if (OTHER_NODES.includes(address)) return "other";
  return PODS.some((range) => contains(range, parseAddress(address))) ? "client" : "outside";
}

/** Commands for `ip -batch` in each host's namespace, to change from one placement to the next. */
export function moves(from: Placement | undefined, to: Placement): ReadonlyMap<Host, readonly string[]> {
  const commands = new Map<Host, string[]>();
  const add = (host: Host, command: string) => commands.set(host, [...(commands.get(host) ?? []), command]);
  const isKept = (address: string, host: Host) =>
    from?.addresses.get(address) === host && to.addresses.get(address) === host;
  for (const [address, host] of from?.addresses ?? []) {
    if (isKept(address, host)) continue;
    add(host, `address del ${address} dev lo`);
    for (const [at, next] of way(host)) add(at, `route del ${address} ${leading(at, next, address)}`);
  }
  for (const [address, host] of to.addresses) {
    if (isKept(address, host)) continue;
    add(host, `address add ${address} dev lo${address.includes(":") ? " nodad" : ""}`);
    for (const [at, next] of way(host)) add(at, `route add ${address} ${leading(at, next, address)}`);
  }
  return commands;
}

/** The path from the node to a host, hop by hop. */
function way(host: Host): readonly (readonly [Host, Host])[] {
  if (host === "node") return [];
  if (host === "remote") {
    return [
      ["node", "other"],
      ["other", "remote"],
    ];
  }
  return [["node", host]];
}

const leading = (at: Host, next: Host, address: string) =>
  `via ${nextHop(at, next, address.includes(":") ? 6 : 4)} dev ${device(next)}`;
