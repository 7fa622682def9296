/** For tests: a compiler for node n1, and the tables that its changes produce. */
import { CLUSTER_NETWORK_POLICY_PARSER } from "../cluster/policy/cluster-network-policy.ts";
import { NAMESPACE_PARSER } from "../cluster/policy/namespace.ts";
import { NETWORK_POLICY_PARSER } from "../cluster/policy/network-policy.ts";
import { POD_PARSER } from "../cluster/policy/pod.ts";
import { parseAddress } from "../ip/address.ts";
import { PolicyMap } from "./policy-map.ts";
import type { Direction } from "./state.ts";
import { PolicyTables } from "./tables.ts";

export const TCP = 6;
export const UDP = 17;
export const SCTP = 132;
export const ICMP = 1;

export interface PodOptions {
  readonly node?: string;
  readonly labels?: Record<string, string>;
  readonly ips?: readonly string[];
  readonly phase?: string;
  readonly hostNetwork?: boolean;
  readonly ports?: readonly unknown[];
  readonly uid?: string;
  readonly configHash?: string;
  /** `status.startTime` */
  readonly started?: string;
}

/** A map for node n1 and the tables that its changes produce. */
export class Bed {
  readonly map = new PolicyMap("n1");
  readonly tables = new PolicyTables();

  pod(key: string, options: PodOptions | undefined): void {
    const [namespace = "", name = ""] = key.split("/");
    const {
      node = "n1",
      labels,
      ips = [],
      phase = "Running",
      hostNetwork,
      ports,
      uid,
      configHash,
      started,
    } = options ?? {};
    const annotations = configHash === undefined ? {} : { "kubernetes.io/config.hash": configHash };
    const object = {
      metadata: { namespace, name, uid: uid ?? `uid of ${key}`, annotations, ...(labels && { labels }) },
      spec: { nodeName: node, hostNetwork, containers: [{ ports }] },
      status: { phase, startTime: started, podIPs: ips.map((ip) => ({ ip })) },
    };
    this.map.setPod(key, options && POD_PARSER.parse(object));
    this.apply();
  }

  policy(key: string, spec: object | undefined): void {
    const [namespace = "", name = ""] = key.split("/");
    this.map.setPolicy(key, spec && NETWORK_POLICY_PARSER.parse({ metadata: { namespace, name }, spec }));
    this.apply();
  }

  clusterPolicy(name: string, spec: object | undefined): void {
    this.map.setClusterPolicy(name, spec && CLUSTER_NETWORK_POLICY_PARSER.parse({ metadata: { name }, spec }));
    this.apply();
  }

  namespace(name: string, labels: Record<string, string>, annotations: Record<string, string> = {}): void {
    this.map.setNamespace(name, NAMESPACE_PARSER.parse({ metadata: { name, labels, annotations } }));
    this.apply();
  }

  attach(key: string, uid: string, ...addresses: string[]): void {
    this.map.attach(key, uid, addresses.map(parseAddress));
    this.apply();
  }

  apply(): number {
    const changes = this.map.changes();
    for (const change of changes) this.tables.apply(change);
    return changes.length;
  }

  verdict(direction: Direction, subject: string, peer: string, protocol = TCP, port = 80): string {
    return this.tables.verdict(direction, parseAddress(subject), parseAddress(peer), protocol, port);
  }

  ingress(from: string, to: string, protocol = TCP, port = 80): string {
    return this.verdict("ingress", to, from, protocol, port);
  }

  egress(from: string, to: string, protocol = TCP, port = 80): string {
    return this.verdict("egress", from, to, protocol, port);
  }
}

export const [WEB, API, FAR] = ["10.0.0.1", "10.0.0.2", "192.0.2.1"];

/** x/web on this node and x/api on another one. */
export function bedWith(spec: object): Bed {
  const bed = new Bed();
  bed.pod("x/web", { labels: { app: "web" }, ips: [WEB, "fd00::1"] });
  bed.pod("x/api", { node: "n2", labels: { app: "api" }, ips: [API, "fd00::2"] });
  bed.policy("x/p", spec);
  return bed;
}

export const ALL = {};
