/**
 * The format of Services in the nodes file. Keys are those of Kubernetes where it has them:
 *
 *     services:
 *       - name: shop/web                  # namespace/name; the default namespace is "default"
 *         clusterIPs: [10.96.0.10]        # at most one of each family
 *         ports:
 *           - port: 80
 *             targetPort: 8080            # of the endpoints; default: the same as port
 *             nodePort: 30080             # default: none
 *             protocol: TCP               # UDP, SCTP
 *             name: http                  # optional if there is one port
 *         endpoints:
 *           - 10.244.1.5
 *           - { address: 10.244.2.7, node: n2, ready: false }
 *     serviceCIDRs: [10.96.0.0/16]
 *
 * An endpoint's node is the one that it names, else the one whose podCIDRs or addresses contain it. If two Services claim
 * the same address, the one defined first counts as the older. Pure.
 */
import { isMap, type YAMLMap } from "yaml";
import type { ClusterNode } from "../../pkg/cluster/node/node.ts";
import type { EndpointSlice, SliceEndpoint } from "../../pkg/cluster/service/endpoint-slice.ts";
import type { Protocol, Service, ServicePort } from "../../pkg/cluster/service/service.ts";
import type { ServiceCIDR } from "../../pkg/cluster/service/service-cidr.ts";
import { type Address, type Family, isSameAddress, parseAddress } from "../../pkg/ip/address.ts";
import { contains, parseSubnet } from "../../pkg/ip/prefix.ts";
import { offsetOf, type Reader } from "./yaml-reader.ts";

/** Objects by the keys that they would have in Kubernetes. */
export interface FileServices {
  readonly services: ReadonlyMap<string, Service>;
  readonly slices: ReadonlyMap<string, EndpointSlice>;
  readonly cidrs: ReadonlyMap<string, ServiceCIDR>;
}

/** Keys at the top level of the file. */
export const SERVICE_KEYS = ["services", "serviceCIDRs"] as const;

const KEYS = [
  ...["name", "clusterIPs", "ports", "endpoints", "externalIPs", "loadBalancerIPs", "loadBalancerSourceRanges"],
  ...["internalTrafficPolicy", "externalTrafficPolicy", "sessionAffinitySeconds", "healthCheckNodePort"],
];
const PORT_KEYS = ["name", "port", "targetPort", "protocol", "nodePort"];
const ENDPOINT_KEYS = ["address", "node", "ready"];
const PROTOCOLS: Readonly<Record<string, Protocol>> = { TCP: 6, UDP: 17, SCTP: 132 };
const POLICIES = ["Cluster", "Local"] as const;
const MOST_AFFINITY_SECONDS = 86_400;
const MOST_PORT = 65_535;

/** `nodes` are the nodes of the same file. Mistakes are recorded in `reader`. */
export function readServices(reader: Reader, top: YAMLMap, nodes: readonly ClusterNode[]): FileServices {
  const services = new Map<string, Service>();
  const slices = new Map<string, EndpointSlice>();
  const entries = top.has("services") ? reader.list(top.get("services", true), "services", top) : [];
  entries.forEach((entry, at) => {
    const read = new ServiceReader(reader, `services[${at}]`, nodes).read(entry, at);
    if (read === undefined) return;
    const { key, service } = read;
    if (services.has(key)) reader.mistake(offsetOf(entry), `services[${at}].name`, `${key} is defined twice`);
    services.set(key, service);
    for (const slice of read.slices) slices.set(`${key}-ipv${slice.family}`, slice);
  });
  const cidrs = top.has("serviceCIDRs")
    ? reader.each(top.get("serviceCIDRs", true), "serviceCIDRs", top, (text) => parseSubnet(text))
    : [];
  return { services, slices, cidrs: new Map(cidrs.length === 0 ? [] : [["nodes-file", { cidrs }]]) };
}

interface ReadPort extends ServicePort {
  readonly targetPort: number;
}

interface ReadService {
  readonly key: string;
  readonly service: Service;
  readonly slices: readonly EndpointSlice[];
}

/** Reads one entry of the list. */
class ServiceReader {
  readonly #reader: Reader;
  readonly #field: string;
  readonly #nodes: readonly ClusterNode[];

  constructor(reader: Reader, field: string, nodes: readonly ClusterNode[]) {
    this.#reader = reader;
    this.#field = field;
    this.#nodes = nodes;
  }

  read(entry: unknown, at: number): ReadService | undefined {
    const reader = this.#reader;
    const map = reader.map(entry, this.#field, KEYS);
    if (map === undefined) return undefined;
    const key = this.#key(map);
    const clusterIPs = this.#clusterIPs(map);
    const ports = this.#ports(map);
    const loadBalancerIPs = this.#addresses(map, "loadBalancerIPs");
    const hasNodePort = ports.some(({ nodePort }) => nodePort !== 0);
    const integer = (name: string, most: number) =>
      map.has(name) ? reader.integer(map.get(name, true), this.#at(name), 1, most) : undefined;
    const policy = (name: string) =>
      (map.has(name) ? reader.choice(map.get(name, true), this.#at(name), POLICIES) : undefined) ?? "Cluster";
    const service: Service = {
      ...{ clusterIPs, loadBalancerIPs, externalIPs: this.#addresses(map, "externalIPs") },
      type: loadBalancerIPs.length > 0 ? "LoadBalancer" : hasNodePort ? "NodePort" : "ClusterIP",
      ports: ports.map(({ name, protocol, port, nodePort }) => ({ name, protocol, port, nodePort })),
      sourceRanges: this.#each(map, "loadBalancerSourceRanges", (text) => parseSubnet(text)),
      affinitySeconds: integer("sessionAffinitySeconds", MOST_AFFINITY_SECONDS),
      internalTrafficPolicy: policy("internalTrafficPolicy"),
      externalTrafficPolicy: policy("externalTrafficPolicy"),
      healthCheckNodePort: integer("healthCheckNodePort", MOST_PORT) ?? 0,
      created: new Date(at * 1000).toISOString(),
      problems: [],
    };
    return { key, service, slices: this.#slices(map, key, ports) };
  }

  #at(key: string): string {
    return `${this.#field}.${key}`;
  }

  #key(map: YAMLMap): string {
    const text = this.#reader.text(map.get("name", true), this.#at("name"), map) ?? "";
    if (!/^([a-z0-9-]+\/)?[a-z0-9-]*$/.test(text))
      this.#reader.mistake(offsetOf(map.get("name", true)), this.#at("name"), `"${text}": expected namespace/name`);
    return text.includes("/") ? text : `default/${text}`;
  }

  #addresses(map: YAMLMap, key: string): readonly Address[] {
    return this.#each(map, key, (text) => parseAddress(text));
  }

  /** Reads a list that may be absent. */
  #each<T>(map: YAMLMap, key: string, parse: (text: string) => T): readonly T[] {
    return map.has(key) ? this.#reader.each(map.get(key, true), this.#at(key), map, parse) : [];
  }

  #clusterIPs(map: YAMLMap): readonly Address[] {
    const addresses = this.#reader.each(map.get("clusterIPs", true), this.#at("clusterIPs"), map, (text) =>
      parseAddress(text),
    );
    if (new Set(addresses.map(({ family }) => family)).size < addresses.length)
      this.#reader.mistake(
        offsetOf(map.get("clusterIPs", true)),
        this.#at("clusterIPs"),
        "expected one of each family",
      );
    return addresses;
  }

  #ports(map: YAMLMap): readonly ReadPort[] {
    const reader = this.#reader;
    const items = reader.list(map.get("ports", true), this.#at("ports"), map);
    const ports = items.flatMap((item, at) => {
      const field = this.#at(`ports[${at}]`);
      const one = reader.map(item, field, PORT_KEYS);
      if (one === undefined) return [];
      const number = (key: string) =>
        one.has(key) ? reader.integer(one.get(key, true), `${field}.${key}`, 1, MOST_PORT) : undefined;
      const port = reader.integer(one.get("port", true) ?? one, `${field}.port`, 1, MOST_PORT) ?? 0;
      const protocol = one.has("protocol")
        ? reader.choice(one.get("protocol", true), `${field}.protocol`, Object.keys(PROTOCOLS))
        : "TCP";
      const isNamed = one.has("name") || items.length > 1;
      const name = isNamed ? (reader.text(one.get("name", true), `${field}.name`, one) ?? "") : "";
      return [
        {
          ...{ name, port, protocol: PROTOCOLS[protocol ?? "TCP"] ?? 6, nodePort: number("nodePort") ?? 0 },
          targetPort: number("targetPort") ?? port,
        },
      ];
    });
    ports.forEach(({ name }, at) => {
      if (ports.findIndex((other) => other.name === name) < at)
        reader.mistake(offsetOf(items[at]), this.#at(`ports[${at}].name`), `"${name}" is defined twice`);
    });
    return ports;
  }

  /** Returns one slice for each family, as in Kubernetes. A Service without endpoints rejects connections. */
  #slices(map: YAMLMap, service: string, ports: readonly ReadPort[]): readonly EndpointSlice[] {
    const items = map.has("endpoints") ? this.#reader.list(map.get("endpoints", true), this.#at("endpoints"), map) : [];
    const endpoints = items.flatMap((item, at) => this.#endpoint(item, this.#at(`endpoints[${at}]`), map) ?? []);
    return ([4, 6] as const).flatMap((family: Family) => {
      const ofFamily = endpoints.filter(({ address }) => address.family === family);
      if (ofFamily.length === 0) return [];
      return [
        {
          ...{ service, family, endpoints: ofFamily, triggeredMs: undefined },
          ports: ports.map(({ name, protocol, targetPort }) => ({ name, protocol, port: targetPort })),
        },
      ];
    });
  }

  #endpoint(item: unknown, field: string, around: YAMLMap): SliceEndpoint | undefined {
    const reader = this.#reader;
    const map = isMap(item) ? reader.map(item, field, ENDPOINT_KEYS) : undefined;
    const text = isMap(item) ? item.get("address", true) : item;
    const address = reader.value(text, isMap(item) ? `${field}.address` : field, map ?? around, parseAddress);
    const named = map?.has("node") ? reader.text(map.get("node", true), `${field}.node`, map) : undefined;
    if (named !== undefined && !this.#nodes.some(({ name }) => name === named))
      reader.mistake(offsetOf(map?.get("node", true)), `${field}.node`, `${named} is not in nodes`);
    const isReady = (map?.has("ready") ? reader.flag(map.get("ready", true), `${field}.ready`) : undefined) ?? true;
    if (address === undefined) return undefined;
    return {
      ...{ address, isReady, isServing: isReady, isTerminating: false },
      ...{ nodeName: named ?? this.#nodeOf(address), nodeHints: undefined, zoneHints: undefined, pod: undefined },
    };
  }

  #nodeOf(address: Address): string | undefined {
    return this.#nodes.find(
      ({ podCidrs, internalAddresses }) =>
        podCidrs.some((prefix) => contains(prefix, address)) ||
        internalAddresses.some((one) => isSameAddress(one, address)),
    )?.name;
  }
}
