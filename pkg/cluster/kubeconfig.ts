/** Where the API server is and who this process is there: a kubeconfig, or the service account of its pod. */
import { KubeConfig } from "@kubernetes/client-node/dist/config.js";
import { type Clock, SYSTEM_CLOCK } from "./clock.ts";
import { Connection } from "./connection.ts";

/**
 * Access to the API server by the kubeconfig at this path, or, without one, by the service account of the pod that
 * this process runs in. The file is read at the first request, and again after the server refused what it held.
 */
export function connectKubernetes(kubeconfigPath: string | undefined, clock: Clock = SYSTEM_CLOCK): Connection {
  return new Connection(() => loadKubeConfig(kubeconfigPath), clock);
}

/** Throws when there is neither a readable kubeconfig nor a service account. */
export function loadKubeConfig(path: string | undefined): KubeConfig {
  const config = new KubeConfig();
  if (path !== undefined) {
    config.loadFromFile(path);
  } else {
    if (!process.env.KUBERNETES_SERVICE_HOST)
      throw new Error("no kubeconfig was given and this is no pod of a cluster");
    config.loadFromCluster();
  }
  return config;
}
