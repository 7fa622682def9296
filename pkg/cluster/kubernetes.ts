/** Nodes from a Kubernetes API server. */
import { KubeConfig } from "@kubernetes/client-node/dist/config.js";
import { type Clock, SYSTEM_CLOCK } from "./clock.ts";
import { Connection } from "./connection.ts";
import { LIST_WATCH_DEFAULTS, ListWatch, type ListWatchOptions } from "./listwatch.ts";
import { type KubeNode, nodeFingerprint, parseNode } from "./node.ts";
import { NodeApi, type WatchEvent } from "./node-api.ts";
import type { NodeSource, SourceListener } from "./source.ts";

/**
 * Access to the API server by the kubeconfig at this path, or, without one, by the service account of the pod that
 * this process runs in. The file is read at the first request, and again after the server refused what it held.
 */
export function connectKubernetes(kubeconfigPath: string | undefined, clock: Clock = SYSTEM_CLOCK): NodeApi {
  return new NodeApi(new Connection(() => loadKubeConfig(kubeconfigPath), clock));
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

export class KubernetesSource implements NodeSource {
  readonly #api: NodeApi;
  readonly #options: ListWatchOptions;
  readonly #stopping = new AbortController();
  /** What the listener knows, by name: the fingerprint of the state it was last told of. */
  #told = new Map<string, string>();
  #running: Promise<void> = Promise.resolve();

  constructor(api: NodeApi, options: Partial<ListWatchOptions> = {}) {
    this.#api = api;
    this.#options = { clock: SYSTEM_CLOCK, ...LIST_WATCH_DEFAULTS, ...options };
  }

  start(listener: SourceListener): void {
    const loop = new ListWatch(this.#api, this.#options, {
      onList: (nodes) => {
        listener({ type: "sync", nodes: nodes.map(parseNode) });
        this.#told = new Map(nodes.map((node) => [node.metadata.name, nodeFingerprint(node)]));
      },
      onChange: (event) => this.#change(event.type, event.node, listener),
      onWatching: () => listener({ type: "connected" }),
      onFailure: (error, retryMs, silentMs) => {
        const reason = error instanceof Error ? error.message : String(error);
        listener({ type: "stale", silentMs, reason, retryMs });
      },
    });
    this.#running = loop.run(this.#stopping.signal);
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  #change(type: Exclude<WatchEvent["type"], "BOOKMARK">, node: KubeNode, listener: SourceListener): void {
    const { name } = node.metadata;
    if (type === "DELETED") {
      if (this.#told.has(name)) listener({ type: "delete", name });
      this.#told.delete(name);
      return;
    }
    const fingerprint = nodeFingerprint(node);
    if (this.#told.get(name) === fingerprint) return;
    listener({ type: "upsert", node: parseNode(node) });
    this.#told.set(name, fingerprint);
  }
}
