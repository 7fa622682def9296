/**
 * Where the API server is and who this process is there: a kubeconfig, or the service account of its pod.
 *
 * What a node needs to reach the API server must not depend on rules that are written only once it is reached. So the
 * ClusterIP of default/kubernetes, which kubelets put into every pod's environment, is asked last, behind the addresses
 * that an administrator has configured and those that the node has kept.
 */
import { createHash } from "node:crypto";
import { KubeConfig } from "@kubernetes/client-node/dist/config.js";
import { type Clock, SYSTEM_CLOCK } from "./clock.ts";
import { Connection, configuredServer } from "./connection.ts";
import { type ApiEndpoint, formatApiEndpoint } from "./known-servers.ts";
import { type Server, serverUrl } from "./servers.ts";

export interface AccessOptions {
  /** Path of a kubeconfig. Default: the service account of the pod. */
  readonly kubeconfig?: string | undefined;
  /** URLs of API servers, instead of the kubeconfig's or the environment's. */
  readonly apiServers?: readonly string[];
  /** The endpoints of default/kubernetes, as far as they are known. Default: none. */
  readonly known?: () => readonly ApiEndpoint[];
  /**
   * The node's name. It decides which known server comes first, so that a cluster's nodes spread over its API servers.
   * Default: the order of `known`.
   */
  readonly askerName?: string;
  /** Another server than before has answered. Must not throw. */
  readonly onServer?: (server: Server) => void;
}

/** Every API server has a certificate for this name, at any address. */
const API_SERVER_NAME = "kubernetes.default.svc";

/** Files are read at the first request, and again after the server refused what they held. */
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

/** Throws when there is neither a readable kubeconfig nor a service account. `isServerGiven`: the environment names none. */
export function loadKubeConfig(path: string | undefined, isServerGiven = false): KubeConfig {
  const config = new KubeConfig();
  if (path !== undefined) {
    config.loadFromFile(path);
  } else {
    if (!process.env.KUBERNETES_SERVICE_HOST && !isServerGiven)
      throw new Error("no kubeconfig was given and this is no pod of a cluster");
    config.loadFromCluster();
  }
  return config;
}

export interface ServerNames {
  /** Empty: the configuration's. */
  readonly apiServers: readonly string[];
  readonly known: readonly ApiEndpoint[];
  /**
   * KUBERNETES_PORT of a container, "tcp://10.96.0.1:443": always the ClusterIP, while KUBERNETES_SERVICE_HOST may have been
   * set to another address by the manifest's ConfigMap `weft-api-server`.
   */
  readonly servicePort: string | undefined;
}

/**
 * All servers, in the order of preference: configured, known, the ClusterIP. Where the configuration does not verify
 * servers, or goes by a proxy, no known one is asked: another host may have its address now, and would get the credentials.
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

/** The same ring, begun where the name says. */
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
