/**
 * The node's connection to the cluster: the source of its peers, and the place for its announcements. Both are
 * Kubernetes, or the source is a file and there are no announcements.
 */

import type { Clock } from "../../pkg/cluster/clock.ts";
import { API_SERVICE } from "../../pkg/cluster/known-servers.ts";
import { connectKubernetes, loadKubeConfig } from "../../pkg/cluster/kubeconfig.ts";
import { type Announcement, formatAnnotations } from "../../pkg/cluster/node/annotations.ts";
import { KubernetesSource } from "../../pkg/cluster/node/kubernetes-source.ts";
import type { ClusterNode } from "../../pkg/cluster/node/node.ts";
import { NodeApi } from "../../pkg/cluster/node/node-api.ts";
import type { NodeSource } from "../../pkg/cluster/node/source.ts";
import { parseAddress } from "../../pkg/ip/address.ts";
import type { ReservedAddress } from "../../pkg/services/node-facts.ts";
import type { Health } from "../core/health.ts";
import { LastReports } from "../core/last-reports.ts";
import type { Logger } from "../core/log.ts";
import type { Metrics } from "../core/metrics.ts";
import type { Options } from "../options.ts";
import { Announcer } from "./announcer.ts";
import { type EventReporter, Events } from "./events.ts";
import { KnownServers } from "./known-servers.ts";
import { kubernetesPolicies } from "./kubernetes-policies.ts";
import { kubernetesServices } from "./kubernetes-services.ts";
import type { NetConfHolder } from "./net-conf.ts";
import { NetworkCondition } from "./network-condition.ts";
import { NodeFileSource } from "./node-file.ts";
import type { NodeView } from "./node-view.ts";
import type { PolicySource } from "./policy-source.ts";
import { ServerLookup } from "./server-lookup.ts";
import type { ServiceSource } from "./service-source.ts";

export interface ClusterSide {
  readonly source: NodeSource;
  readonly announcer: Pick<Announcer, "announce" | "recordPolicyMode">;
  readonly events: EventReporter;
  /** Undefined if another program serves Services. The caller of `openClusterSide` starts it. */
  readonly services: ServiceSource | undefined;
  /** Undefined if this weftd has no NetworkPolicies. Their controller starts it. */
  readonly policies: PolicySource | undefined;
  /** The addresses of API servers, as far as they are known. No Service may take them over. */
  readonly apiServers: readonly ReservedAddress[];
  /** Called when this node serves its pods. `own` is its Node as the source has it. */
  serves(own: ClusterNode): void;
  /** Called when the node's own addresses have changed. Opens new connections. */
  reconnect(): void;
  /** Aborts running requests. The caller that started the source stops it. */
  close(): Promise<void>;
}

export interface ClusterSideParts {
  readonly options: Pick<
    Options,
    "nodeName" | "kubeconfig" | "apiserver" | "stateDir" | "nodes" | "serviceProxy" | "networkPolicy" | "pods"
  >;
  readonly netConf: NetConfHolder;
  readonly view: NodeView;
  readonly health: Health;
  readonly metrics: Metrics;
  readonly log: Logger;
  readonly clock: Clock;
}

export async function openClusterSide(parts: ClusterSideParts): Promise<ClusterSide> {
  const { nodes } = parts.options;
  return nodes === undefined ? kubernetesSide(parts) : fileSide(nodes, parts);
}

async function kubernetesSide({ options, view, metrics, log, clock }: ClusterSideParts): Promise<ClusterSide> {
  const { nodeName, kubeconfig, apiserver, stateDir } = options;
  const known = await KnownServers.open(stateDir, log);
  const connection = connectKubernetes(
    {
      ...{ kubeconfig, apiServers: apiserver, known: () => known.endpoints, askerName: nodeName },
      onServer: ({ url, origin }) => {
        log.info({ server: url, origin }, "connected to an API server");
        metrics.apiServer.reset();
        metrics.apiServer.set({ server: url, origin }, 1);
      },
    },
    clock,
  );
  const lookup = new ServerLookup({ connection, known, clock, log });
  lookup.start();
  const api = new NodeApi(connection);
  const hasPolicies = options.pods && options.networkPolicy !== "off";
  const announcer = new Announcer({ api, nodeName, clock, log, metrics, awaitsPolicyMode: hasPolicies });
  const events = new Events({ api, nodeName, nodeUid: () => view.own?.uid, clock, log });
  const condition = new NetworkCondition({ api, nodeName, clock, log });
  const configured = configuredServers(options);
  const services = options.serviceProxy === "none" ? undefined : kubernetesServices({ connection, clock, log });
  if (services !== undefined) follow(services, known);
  const policies = hasPolicies ? kubernetesPolicies({ connection, clock, log }) : undefined;
  return {
    ...{ services, policies },
    get apiServers() {
      return [...configured, ...known.endpoints];
    },
    source: new KubernetesSource(api, { clock, ownName: nodeName }),
    announcer,
    // A host that is not a node has read permissions only.
    events: options.pods ? events : logged(log),
    serves: (own) => condition.serves(own),
    reconnect: () => connection.reconnect(),
    close: async () => {
      const sources = [services, policies].map((one) => one?.stop());
      await Promise.all([announcer.stop(), events.stop(), condition.stop(), ...sources, lookup.stop()]);
      connection.close();
    },
  };
}

/**
 * Publishes nothing. Peers read about this node in their copies of the file; weftd compares the file with the actual
 * state.
 */
function fileSide(path: string, { options, netConf, health, log, clock }: ClusterSideParts): ClusterSide {
  const reports = new LastReports();
  const source = new NodeFileSource({
    ...{ path, clock, netConf: () => netConf.current.conf },
    onListenerFailure: (error) => log.error({ err: error }, "processing the nodes file's Services failed"),
  });
  return {
    source,
    announcer: {
      announce: (announcement, own) => {
        const differences = differencesOf(announcement, own);
        health.warns("nodes file", differences);
        if (reports.isNew("nodes file", differences.join("\n")) && differences.length > 0)
          log.warn({ path, differences }, "the nodes file is wrong about this node");
      },
      recordPolicyMode: () => undefined,
    },
    events: logged(log),
    policies: undefined,
    services: options.serviceProxy === "none" ? undefined : source.services,
    apiServers: [],
    serves: () => undefined,
    reconnect: () => undefined,
    close: () => source.services.stop(),
  };
}

/** Writes Events to the log, for nodes without an API server that accepts them. */
function logged(log: Logger): EventReporter {
  return {
    report: ({ type, reason, message }) => log[type === "Warning" ? "warn" : "info"]({ reason }, message),
  };
}

/** Passes changes of default/kubernetes to `known` at once, without waiting for the next lookup. */
function follow({ slices }: ServiceSource, known: KnownServers): void {
  const byService = slices.addIndex(({ value }) => value.service);
  slices.subscribe(({ changes }) => {
    const isAbout = changes.some(({ before, after }) => (after ?? before)?.value.service === API_SERVICE);
    if (isAbout) void known.learn(byService.get(API_SERVICE).map(({ value }) => value));
  });
}

/**
 * The servers of the flag, else those of the kubeconfig. Omits servers given by name; empty if the kubeconfig cannot be
 * read.
 */
function configuredServers({ kubeconfig, apiserver }: ClusterSideParts["options"]): readonly ReservedAddress[] {
  try {
    const urls = apiserver.length > 0 ? apiserver : [loadKubeConfig(kubeconfig).getCurrentCluster()?.server ?? ""];
    return urls.flatMap(addressOf);
  } catch {
    return [];
  }
}

function addressOf(url: string): readonly ReservedAddress[] {
  const { protocol, hostname, port } = new URL(url);
  try {
    const address = parseAddress(hostname.replace(/^\[(.*)\]$/, "$1"));
    return [{ address, port: port === "" ? (DEFAULT_PORTS[protocol] ?? 443) : Number(port) }];
  } catch {
    return [];
  }
}

const DEFAULT_PORTS: { readonly [protocol: string]: number | undefined } = { "http:": 80, "https:": 443 };

/** Returns the annotations of this node that the file, and thus every peer, has wrong. */
export function differencesOf(announcement: Announcement, own: ClusterNode): string[] {
  const { backend = { type: "nothing" }, publicIp, publicIpv6 } = own;
  const said = formatAnnotations({ backend, ...(publicIp && { publicIp }), ...(publicIpv6 && { publicIpv6 }) });
  return Object.entries(formatAnnotations(announcement)).flatMap(([key, value]) =>
    value === null || said[key] === value ? [] : [`${key}: ${value}, but in the file: ${said[key] ?? "nothing"}`],
  );
}
