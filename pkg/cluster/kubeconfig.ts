/**
 * The address and credentials for the API server: from a kubeconfig, or from the pod's service account.
 *
 * The address must not depend on rules that weftd writes only after it has reached the API server. So the ClusterIP of
 * default/kubernetes, which kubelets put into every pod's environment, is used last, after the addresses that an
 * administrator has configured and those that the node has stored.
 */
import { createHash } from "node:crypto";
import { KubeConfig } from "@kubernetes/client-node/dist/config.js";
import { type Clock, SYSTEM_CLOCK } from "./clock.ts";
import { Connection, configuredServer } from "./connection.ts";
import { type ApiEndpoint, formatApiEndpoint } from "./known-servers.ts";
import { type Server, serverUrl } from "./servers.ts";

export interface AccessOptions {
  /** The path of a kubeconfig. Default: the service account of the pod. */
  readonly kubeconfig?: string | undefined;
  /** The URLs of API servers. They replace the kubeconfig's or the environment's. */
  readonly apiServers?: readonly string[];
  /** Returns the known endpoints of default/kubernetes. Default: none. */
  readonly known?: () => readonly ApiEndpoint[];
  /**
   * The node's name. It decides which known server is first, so that a cluster's nodes spread over its API servers.
   * Default: the order of `known`.
   */
  readonly askerName?: string;
  /** Called if another server than before has answered. Must not throw. */
  readonly onServer?: (server: Server) => void;
}

/** Every API server has a certificate for this name, at any address. */
const API_SERVER_NAME = "kubernetes.default.svc";

/** Files are read at the first request, and again after the server refused their credentials. */
export function connectKubernetes(options: AccessOptions = {}, clock: Clock = SYSTEM_CLOCK): Connection {
  const { kubeconfig, apiServers = [], known = () => [], askerName, onServer } = options;
  const isInCluster = kubeconfig === undefined;
  return new Connection(
    {
      load: () => loadKubeConfig(kubeconfig, apiServers.length > 0),
      servers: (config) =>
        serversOf(config, {
          ...{ apiServers, known: askerName === undefined ? known() : spread(known(), askerName) },
          servicePort: isInCluster ? process.env.KUBERNETES_PORT : "",
        }),
      ...(onServer && { onServer }),
    },
    clock,
  );
}

/**
 * Throws if there is neither a readable kubeconfig nor a service account. `isServerGiven`: the environment need not
 * name a server.
 */
export function loadKubeConfig(path: string | undefined, isServerGiven = false): KubeConfig {
  const config = new KubeConfig();
  if (path !== undefined) {
    config.loadFromFile(path);
  } else {
    if (!process.env.KUBERNETES_SERVICE_HOST && !isServerGiven)
      throw new Error("no kubeconfig was given, and this process does not run in a pod: set --kubeconfig");
    config.loadFromCluster();
  }
  return config;
}

export interface ServerNames {
  /** If empty, the configuration's server is used. */
  readonly apiServers: readonly string[];
  readonly known: readonly ApiEndpoint[];
  /**
   * KUBERNETES_PORT of a container, "tcp://10.96.0.1:443". It is always the ClusterIP, whereas the manifest's ConfigMap
   * `weft-api-server` may set KUBERNETES_SERVICE_HOST to another address.
   */
  readonly servicePort: string | undefined;
}

/**
 * Returns all servers in order of preference: configured, known, the ClusterIP. Excludes known servers if the
 * configuration does not verify servers or uses a proxy: another host may have the address of a known server now, and
 * would receive the credentials.
 */
export function serversOf(config: KubeConfig, { apiServers, known, servicePort }: ServerNames): readonly Server[] {
  const cluster = config.getCurrentCluster();
  const given = apiServers.map((url): Server => ({ url: serverUrl(url), origin: "configured" }));
  const configured = given.length > 0 ? given : configuredServer(config);
  const clusterIp = /^tcp:\/\/(.+)$/.exec(servicePort ?? "")?.[1];
  const service: readonly Server[] =
    clusterIp === undefined ? [] : [{ url: serverUrl(`https://${clusterIp}`), origin: "service" }];
  const isVerified =
    !cluster?.skipTLSVerify && !cluster?.proxyUrl && configured.every(({ url }) => url.startsWith("https:"));
  const servers = [
    ...configured.filter(({ url }) => url !== service[0]?.url),
    ...(isVerified ? known.map(knownServer) : []),
    ...service,
  ];
  return servers.filter(({ url }, at) => servers.findIndex((other) => other.url === url) === at);
}

/** Rotates the ring to a start that depends on the name. */
export function spread<T>(ring: readonly T[], name: string): readonly T[] {
  // In the order of their addresses, all nodes of a cluster would watch the first server.
  const at = createHash("sha256").update(name).digest().readUInt32BE() % Math.max(ring.length, 1);
  return [...ring.slice(at), ...ring.slice(0, at)];
}

function knownServer(endpoint: ApiEndpoint): Server {
  return {
    url: serverUrl(`https://${formatApiEndpoint(endpoint)}`),
    origin: "known",
    tlsName: API_SERVER_NAME,
  };
}
