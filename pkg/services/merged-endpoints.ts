/**
 * Merges the endpoints of one Service port in one family from all EndpointSlices of the Service. An address and port
 * may be in several slices: while the controller moves an endpoint, if slices are written manually, or if a new pod has
 * the address of a terminating one. kube-proxy keeps the last one that it received. Here the order of slices does not
 * matter.
 */
import type { EndpointSlice, SliceEndpoint } from "../cluster/service/endpoint-slice.ts";
import type { ServicePort } from "../cluster/service/service.ts";
import { compareAddresses, type Family } from "../ip/address.ts";
import type { Endpoint } from "./frontend.ts";

/** An endpoint, and its entry in an EndpointSlice. */
export interface MergedEndpoint {
  readonly endpoint: Endpoint;
  readonly source: SliceEndpoint;
}

/** Without duplicates, sorted by address and port. Includes endpoints with refused addresses (`specialKind`). */
export function mergeEndpoints(
  slices: readonly EndpointSlice[],
  family: Family,
  port: Pick<ServicePort, "name" | "protocol">,
  nodeName: string,
): MergedEndpoint[] {
  const found: MergedEndpoint[] = [];
  for (const slice of slices) {
    if (slice.family !== family) continue;
    for (const { name, protocol, port: number } of slice.ports) {
      if (name !== port.name || protocol !== port.protocol) continue;
      for (const source of slice.endpoints) {
        const endpoint = { address: source.address, port: number, isLocal: source.nodeName === nodeName };
        found.push({ endpoint, source });
      }
    }
  }
  return withoutDuplicates(
    found.sort((a, b) => compareEndpoints(a.endpoint, b.endpoint)),
    nodeName,
  );
}

function withoutDuplicates(sorted: readonly MergedEndpoint[], nodeName: string): MergedEndpoint[] {
  const merged: MergedEndpoint[] = [];
  for (const one of sorted) {
    const last = merged.at(-1);
    if (last === undefined || compareEndpoints(last.endpoint, one.endpoint) !== 0) merged.push(one);
    else if (overrides(one.source, last.source, nodeName)) merged[merged.length - 1] = one;
  }
  return merged;
}

function compareEndpoints(a: Endpoint, b: Endpoint): number {
  return compareAddresses(a.address, b.address) || a.port - b.port;
}

/**
 * A total order, so that the result is the same for every order of slices: not terminating before terminating, then
 * ready, then serving, then on this node. The remaining fields only affect topology hints and reports.
 */
function overrides(one: SliceEndpoint, other: SliceEndpoint, nodeName: string): boolean {
  const ranks = (endpoint: SliceEndpoint) => [
    !endpoint.isTerminating,
    endpoint.isReady,
    endpoint.isServing,
    endpoint.nodeName === nodeName,
  ];
  const [a, b] = [ranks(one), ranks(other)];
  const index = a.findIndex((rank, at) => rank !== b[at]);
  if (index >= 0) return a[index] === true;
  const text = ({ nodeName: node, nodeHints, zoneHints, pod }: SliceEndpoint) =>
    JSON.stringify([node, nodeHints, zoneHints, pod]);
  return text(one) < text(other);
}
