/** The Services to show, as read from weftd or from the kernel's table only. Pure. */
import { type Address, addressKey, compareAddresses, formatAddress, parseAddress } from "../../pkg/ip/address.ts";
import type { ConnectionCount } from "../../pkg/services/nftables/connection-counts.ts";
import type { HeldEndpoint, HeldFrontend } from "../../pkg/services/nftables/held-frontends.ts";
import type { PageFrontend, PageService, ProtocolWord } from "../node/services-page.ts";

export interface SeenFrontend extends PageFrontend {
  /** New connections since the frontend was programmed. Null if the kernel has no such frontend. */
  readonly connections: number | null;
}

export interface SeenService extends Omit<PageService, "frontends"> {
  readonly frontends: readonly SeenFrontend[];
}

/** IPPROTO_* */
export const PROTOCOL_NUMBER: Readonly<Record<ProtocolWord, HeldFrontend["protocol"]>> = { TCP: 6, UDP: 17, SCTP: 132 };
export const PROTOCOL_WORD: Readonly<Record<number, ProtocolWord>> = { 6: "TCP", 17: "UDP", 132: "SCTP" };

type Key = Pick<HeldFrontend, "address" | "protocol" | "port">;

function keyOf({ address, protocol, port }: Key): string {
  return `${addressKey(address)} ${protocol} ${port}`;
}

/** Adds the kernel's counts to weftd's Services. */
export function countedServices(services: readonly PageService[], held: readonly ConnectionCount[]): SeenService[] {
  const counts = new Map(held.map((frontend) => [keyOf(frontend), frontend.connections]));
  return services.map((service) => ({
    ...service,
    frontends: (service.frontends ?? []).map((frontend) => {
      const { address, protocol, port } = frontend;
      const key = keyOf({ address: parseAddress(address), protocol: PROTOCOL_NUMBER[protocol], port });
      return { ...frontend, connections: counts.get(key) ?? null };
    }),
  }));
}

/** The name of a Service if weftd does not answer. */
export const NAMELESS = "?";

/** Turns the kernel's frontends into Services: each frontend becomes a Service without a name. */
export function heldServices(held: readonly HeldFrontend[]): SeenService[] {
  const order = (a: HeldFrontend, b: HeldFrontend) =>
    compareAddresses(a.address, b.address) || a.protocol - b.protocol || a.port - b.port;
  return [...held].sort(order).map((frontend) => ({ service: NAMELESS, frontends: [heldFrontend(frontend)] }));
}

function heldFrontend(held: HeldFrontend): SeenFrontend {
  const { address, protocol, port, isClusterIp, policy, withoutEndpoint, affinitySeconds, connections } = held;
  return {
    kind: isClusterIp ? "ClusterIP" : "external",
    ...{ address: formatAddress(address), protocol: PROTOCOL_WORD[protocol] ?? "TCP", port, policy, connections },
    ...(held.endpoints.length > 0 && { endpoints: held.endpoints.map(targetText) }),
    ...(held.localEndpoints.length > 0 && { localEndpoints: held.localEndpoints.map(targetText) }),
    ...(withoutEndpoint !== undefined && { withoutEndpoint }),
    ...(affinitySeconds !== undefined && { affinitySeconds }),
  };
}

function targetText({ address, port }: HeldEndpoint): string {
  return addressAndPort(address, port);
}

/** "10.244.1.2:8080", "[fd00::2]:8080" */
export function addressAndPort(address: Address, port: number): string {
  const text = formatAddress(address);
  return `${address.family === 6 ? `[${text}]` : text}:${port}`;
}
