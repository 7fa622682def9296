/** The parsed form of an EndpointSlice (discovery.k8s.io/v1), and its parser. */
import type { Address, Family } from "../../ip/address.ts";
import type { ResourceParser } from "../parser.ts";
import { keyOf } from "../resource.ts";
import {
  addressesOf,
  flatMapCompact,
  intern,
  type JsonObject,
  listOf,
  objectOf,
  portOf,
  protocolOf,
  textOf,
} from "./field.ts";
import type { Protocol } from "./service.ts";

export interface EndpointSlice {
  /** "namespace/name" of the Service, from the label `kubernetes.io/service-name`. */
  readonly service: string;
  readonly family: Family;
  readonly ports: readonly SlicePort[];
  readonly endpoints: readonly SliceEndpoint[];
  /**
   * The annotation `endpoints.kubernetes.io/last-change-trigger-time` in milliseconds since 1970. Undefined if there is
   * none.
   */
  readonly triggeredMs: number | undefined;
  /** Errors in fields of the object, as text. Undefined if there are none. */
  readonly problems?: readonly string[];
}

export interface SlicePort {
  readonly name: string;
  readonly protocol: Protocol;
  readonly port: number;
}

export interface SliceEndpoint {
  /** The first address; other addresses are ignored. */
  readonly address: Address;
  readonly isReady: boolean;
  readonly isServing: boolean;
  readonly isTerminating: boolean;
  /** Undefined counts as another node. */
  readonly nodeName: string | undefined;
  /** `hints.forNodes` and `hints.forZones`. Undefined if the endpoint has no such hint. */
  readonly nodeHints: readonly string[] | undefined;
  readonly zoneHints: readonly string[] | undefined;
  /** "namespace/name" of the pod, for reports. Undefined if `targetRef` names no pod. */
  readonly pod: string | undefined;
}

const SERVICE_NAME_LABEL = "kubernetes.io/service-name";
const TRIGGER_ANNOTATION = "endpoints.kubernetes.io/last-change-trigger-time";

const FAMILIES: { readonly [addressType: string]: Family | undefined } = { IPv4: 4, IPv6: 6 };

/** Ignores slices of host names (`addressType: FQDN`) and slices that belong to no Service. */
export const ENDPOINT_SLICE_PARSER: ResourceParser<EndpointSlice> = {
  resource: {
    group: "discovery.k8s.io",
    version: "v1",
    plural: "endpointslices",
    kind: "EndpointSlice",
    isNamespaced: true,
  },
  parse({ metadata, addressType, ports, endpoints }) {
    const name = textOf(metadata.labels?.[SERVICE_NAME_LABEL]);
    const family = typeof addressType === "string" ? FAMILIES[addressType] : undefined;
    if (!name || family === undefined) return undefined;
    const problems: string[] = [];
    return {
      service: intern(keyOf(metadata.namespace, name)),
      family,
      ports: flatMapCompact(listOf(ports), (port, index) => readPort(objectOf(port), `ports[${index}]`, problems)),
      endpoints: flatMapCompact(listOf(endpoints), (endpoint, index) =>
        readEndpoint(objectOf(endpoint), family, `endpoints[${index}]`, problems),
      ),
      triggeredMs: readTime(metadata.annotations?.[TRIGGER_ANNOTATION]),
      ...(problems.length > 0 && { problems }),
    };
  },
};

/** A port without a name (the API server writes "" if there is none) or without a number is ignored. */
function readPort(port: JsonObject, field: string, problems: string[]): SlicePort[] {
  const name = textOf(port.name);
  const protocol = protocolOf(port.protocol, `${field}.protocol`, problems);
  const number = portOf(port.port, `${field}.port`, problems);
  if (name === undefined || protocol === undefined || number === 0) return [];
  return [{ name: intern(name), protocol, port: number }];
}

function readEndpoint(endpoint: JsonObject, family: Family, field: string, problems: string[]): SliceEndpoint[] {
  const [address] = addressesOf(listOf(endpoint.addresses).slice(0, 1), `${field}.addresses`, problems);
  if (address === undefined) return [];
  if (address.family !== family) {
    problems.push(`${field}.addresses: the first address is not of the slice's addressType, IPv${family}: ignored`);
    return [];
  }
  const { ready, serving, terminating } = objectOf(endpoint.conditions);
  const { forNodes, forZones } = objectOf(endpoint.hints);
  const nodeName = textOf(endpoint.nodeName);
  return [
    {
      address,
      isReady: ready !== false,
      isServing: serving !== false,
      isTerminating: terminating === true,
      nodeName: nodeName === undefined ? undefined : intern(nodeName),
      nodeHints: readHints(forNodes),
      zoneHints: readHints(forZones),
      pod: readPod(objectOf(endpoint.targetRef)),
    },
  ];
}

function readHints(value: unknown): readonly string[] | undefined {
  const names = listOf(value).flatMap((hint) => textOf(objectOf(hint).name) ?? []);
  return names.length === 0 ? undefined : names.map(intern);
}

function readPod({ kind, namespace, name }: JsonObject): string | undefined {
  if (kind !== "Pod" || typeof name !== "string") return undefined;
  // Joined, not concatenated: a concatenation would keep both parts in memory in addition to the result.
  return typeof namespace === "string" ? [namespace, name].join("/") : name;
}

function readTime(text: unknown): number | undefined {
  const ms = Date.parse(textOf(text) ?? "");
  return Number.isNaN(ms) ? undefined : ms;
}
