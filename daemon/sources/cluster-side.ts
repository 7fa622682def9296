/** Where this node's peers are heard of, and where it says what they must know: Kubernetes, or a file and nowhere. */

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
import { kubernetesServices } from "./kubernetes-services.ts";
import type { NetConfHolder } from "./net-conf.ts";
import { NetworkCondition } from "./network-condition.ts";
import { NodeFileSource } from "./node-file.ts";
import type { NodeView } from "./node-view.ts";
import { ServerLookup } from "./server-lookup.ts";
import type { ServiceSource } from "./service-source.ts";

export interface ClusterSide {
  readonly source: NodeSource;
  readonly announcer: Pick<Announcer, "announce">;
  readonly events: EventReporter;
  /** Undefined where Services are another program's. The opener of the side starts it. */
  readonly services: ServiceSource | undefined;
  /** Where API servers are, as far as that is known by their addresses: no Service may take them over. */
  readonly apiServers: readonly ReservedAddress[];
  /** This node serves pods; `own` is what the source says of it. */
  serves(own: ClusterNode): void;
  /** The node's own addresses have changed: connections begin anew. */
  reconnect(): void;
  /** Gives up what is under way. The source is stopped by whoever started it. */
  close(): Promise<void>;
}

export interface ClusterSideParts {
  readonly options: Pick<
    Options,
    "nodeName" | "kubeconfig" | "apiserver" | "stateDir" | "nodes" | "serviceProxy" | "pods"
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
        log.info({ server: url, origin }, "the API server answers");
        metrics.apiServer.reset();
        metrics.apiServer.set({ server: url, origin }, 1);
      },
    },
    clock,
  );
  const lookup = new ServerLookup({ connection, known, clock, log });
  lookup.start();
  const api = new NodeApi(connection);
  const announcer = new Announcer({ api, nodeName, clock, log, metrics });
  const events = new Events({ api, nodeName, nodeUid: () => view.own?.uid, clock, log });
  const condition = new NetworkCondition({ api, nodeName, clock, log });
  const configured = configuredServers(options);
  const services = options.serviceProxy === "none" ? undefined : kubernetesServices({ connection, clock, log });
  if (services !== undefined) follow(services, known);
  return {
    services,
    get apiServers() {
      return [...configured, ...known.endpoints];
    },
    source: new KubernetesSource(api, { clock, ownName: nodeName }),
    announcer,
    // A host that is no node may read, and nothing else.
    events: options.pods ? events : logged(log),
    serves: (own) => condition.serves(own),
    reconnect: () => connection.reconnect(),
    close: async () => {
      await Promise.all([announcer.stop(), events.stop(), condition.stop(), services?.stop(), lookup.stop()]);
      connection.close();
    },
  };
}

/** Nobody is told anything: what others must know of this node is in their files, and is compared with what is so. */
function fileSide(path: string, { options, netConf, health, log, clock }: ClusterSideParts): ClusterSide {
  const reports = new LastReports();
  const source = new NodeFileSource({
    ...{ path, clock, netConf: () => netConf.current.conf },
    onListenerFailure: (error) => log.error({ err: error }, "what the nodes file says of Services was not taken"),
  });
  return {
    source,
    announcer: {
      announce: (announcement, own) => {
        const differences = differencesOf(announcement, own);
        health.warns("nodes file", differences);
        if (reports.isNew("nodes file", differences.join("\n")) && differences.length > 0)
          log.warn({ path, differences }, "the nodes file says something else of this node than is so");
      },
    },
    events: logged(log),
    services: options.serviceProxy === "none" ? undefined : source.services,
    apiServers: [],
    serves: () => undefined,
    reconnect: () => undefined,
    close: () => source.services.stop(),
  };
}

/** Events as lines of the log, where there is no API server that takes them. */
function logged(log: Logger): EventReporter {
  return {
    report: ({ type, reason, message }) => log[type === "Warning" ? "warn" : "info"]({ reason }, message),
  };
}

/** What is heard of default/kubernetes is known at once, not only at the next look. */
function follow({ slices }: ServiceSource, known: KnownServers): void {
  const byService = slices.addIndex(({ value }) => value.service);
  slices.subscribe(({ changes }) => {
    const isAbout = changes.some(({ before, after }) => (after ?? before)?.value.service === API_SERVICE);
    if (isAbout) void known.learn(byService.get(API_SERVICE).map(({ value }) => value));
  });
}

/** Those of the flag, else of the kubeconfig; without those that have a name, and none where it cannot be read now. */
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

/** What peers that go by the same file take for true of this node, and is not. */
export function differencesOf(announcement: Announcement, own: ClusterNode): string[] {
  const { backend = { type: "nothing" }, publicIp, publicIpv6 } = own;
  const said = formatAnnotations({ backend, ...(publicIp && { publicIp }), ...(publicIpv6 && { publicIpv6 }) });
  return Object.entries(formatAnnotations(announcement)).flatMap(([key, value]) =>
    value === null || said[key] === value ? [] : [`${key}: ${value}, in the file ${said[key] ?? "nothing"}`],
  );
}
