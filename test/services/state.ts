/** A case of the rows in the form that the core and the modes take. */

import { type KubeObject, keyOf } from "../../pkg/cluster/resource.ts";
import { ENDPOINT_SLICE_PARSER, type EndpointSlice } from "../../pkg/cluster/service/endpoint-slice.ts";
import { SERVICE_PARSER, type Service } from "../../pkg/cluster/service/service.ts";
import { type Address, parseAddress } from "../../pkg/ip/address.ts";
import { contains, parsePrefix } from "../../pkg/ip/prefix.ts";
import type { NodeSettings } from "../../pkg/services/frontend.ts";
import type { NodeFacts } from "../../pkg/services/node-facts.ts";
import type { ServiceMap } from "../../pkg/services/service-map.ts";
import { type Case, NODE_NAME } from "./rows.ts";

export interface State {
  /** By "namespace/name". */
  readonly services: ReadonlyMap<string, Service>;
  readonly slices: ReadonlyMap<string, readonly EndpointSlice[]>;
  readonly node: NodeFacts;
  readonly settings: NodeSettings;
  readonly ownAddresses: readonly Address[];
}

/** Sets everything in `state`, and removes what `map` had from `before` only. */
export function fill(map: ServiceMap, state: State, before?: State): void {
  map.setNode(state.node);
  for (const key of before?.services.keys() ?? []) if (!state.services.has(key)) map.setService(key, undefined);
  for (const key of before?.slices.keys() ?? []) if (!state.slices.has(key)) map.setSlices(key, []);
  for (const [key, service] of state.services) map.setService(key, service);
  for (const [key, slices] of state.slices) map.setSlices(key, slices);
}

export function stateOf({ services, slices, options, nodeAddresses, boundToNode, serviceCIDRs }: Case): State {
  const nodePorts = options.nodePortAddresses.map(parsePrefix);
  const addresses = nodeAddresses.map(parseAddress);
  const byService = new Map<string, EndpointSlice[]>();
  for (const slice of slices.flatMap((object) => parsed(ENDPOINT_SLICE_PARSER.parse(object as KubeObject)))) {
    byService.set(slice.service, [...(byService.get(slice.service) ?? []), slice]);
  }
  return {
    services: new Map(
      services.flatMap((object) =>
        parsed(SERVICE_PARSER.parse(object as KubeObject)).map((service) => [
          keyOfObject(object as KubeObject),
          service,
        ]),
      ),
    ),
    slices: byService,
    node: {
      name: NODE_NAME,
      zone: "zone-a",
      addresses,
      nodePortAddresses: addresses.filter((address) => nodePorts.some((prefix) => contains(prefix, address))),
      reserved: options.reserved.map(parseSocketAddress),
      externalIPs:
        typeof options.externalIPs === "string"
          ? options.externalIPs
          : options.externalIPs.map((text) => parsePrefix(text)),
    },
    settings: {
      localPods: options.podCIDRs.map(parsePrefix),
      serviceRanges: serviceCIDRs.map(parsePrefix),
      masqueradeAll: options.masqueradeAll,
      masqueradeBit: 14,
    },
    ownAddresses: [...addresses, ...boundToNode.map(parseAddress)],
  };
}

/** "1.2.3.4:80" or "[fd00::1]:80" */
function parseSocketAddress(text: string): { readonly address: Address; readonly port: number } {
  const colon = text.lastIndexOf(":");
  return { address: parseAddress(text.slice(0, colon).replace(/^\[|\]$/g, "")), port: Number(text.slice(colon + 1)) };
}

const keyOfObject = ({ metadata }: KubeObject) => keyOf(metadata.namespace, metadata.name);

/** The parsers ignore some objects: headless Services, slices of names. */
const parsed = <T>(value: T | undefined): T[] => (value === undefined ? [] : [value]);
