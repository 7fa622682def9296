/**
 * The API servers that a node knows from the endpoints of default/kubernetes, and the file that preserves them across a
 * reboot: {"version":1,"endpoints":["192.0.2.1:6443","[2001:db8::1]:6443"]}. Pure.
 */
import { type Address, compareAddresses, formatAddress, parseAddress } from "../ip/address.ts";
import type { EndpointSlice } from "./service/endpoint-slice.ts";

export interface ApiEndpoint {
  readonly address: Address;
  readonly port: number;
}

const VERSION = 1;

/** The name of the port that API servers publish. They publish no other port. */
const PORT_NAME = "https";

/** The "namespace/name" of the Service and of its EndpointSlice. */
export const API_SERVICE = "default/kubernetes";

/** Returns the serving endpoints, sorted, without duplicates. `slices` are those of default/kubernetes. */
export function apiEndpointsOf(slices: readonly EndpointSlice[]): readonly ApiEndpoint[] {
  const all = slices.flatMap(({ ports, endpoints }) =>
    ports
      .filter(({ name, protocol }) => name === PORT_NAME && protocol === 6)
      .flatMap(({ port }) => endpoints.filter(({ isReady }) => isReady).map(({ address }) => ({ address, port }))),
  );
  const sorted = all.sort((a, b) => compareAddresses(a.address, b.address) || a.port - b.port);
  return sorted.filter((one, at) => at === 0 || formatApiEndpoint(one) !== formatApiEndpoint(sorted[at - 1] ?? one));
}

/** Formats as "192.0.2.1:6443" or "[2001:db8::1]:6443". */
export function formatApiEndpoint({ address, port }: ApiEndpoint): string {
  const text = formatAddress(address);
  return address.family === 6 ? `[${text}]:${port}` : `${text}:${port}`;
}

/** The inverse of `formatApiEndpoint`. Throws `AddressError` or `RangeError`. */
export function parseApiEndpoint(text: string): ApiEndpoint {
  const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (match === null || port < 1 || port > 65_535) {
    throw new RangeError(`"${text}" is not an endpoint: expected an address and a port such as 192.0.2.1:6443`);
  }
  return { address: parseAddress(match[1] ?? match[2] ?? ""), port };
}

export function formatKnownServers(endpoints: readonly ApiEndpoint[]): string {
  return `${JSON.stringify({ version: VERSION, endpoints: endpoints.map(formatApiEndpoint) })}\n`;
}

/** Throws if `text` is not in the format of `formatKnownServers` in this version. */
export function parseKnownServers(text: string): readonly ApiEndpoint[] {
  const { version, endpoints } = (JSON.parse(text) ?? {}) as { version?: unknown; endpoints?: unknown };
  if (version !== VERSION) throw new RangeError(`version is ${JSON.stringify(version)}: expected ${VERSION}`);
  if (!Array.isArray(endpoints)) throw new RangeError("endpoints is not a list");
  return endpoints.map((one) => parseApiEndpoint(String(one)));
}
