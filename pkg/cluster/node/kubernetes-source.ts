/** Reads Nodes from a Kubernetes API server. */
import { SYSTEM_CLOCK } from "../clock.ts";
import { LIST_WATCH_DEFAULTS, ListWatch, type ListWatchOptions } from "../listwatch.ts";
import { type KubeNode, nodeFingerprint, type PartialNode, parseNode } from "./node.ts";
import type { NodeApi } from "./node-api.ts";
import { NodeFetcher } from "./node-fetcher.ts";
import type { NodeSource, SourceListener } from "./source.ts";

export interface KubernetesSourceOptions extends ListWatchOptions {
  /**
   * The name of this node's Node. It is read completely at each change, because its addresses select the underlay
   * interface.
   */
  readonly ownName: string | undefined;
}

/**
 * How long the status of a Node that announces other addresses is read again at each of its changes. A kubelet reports
 * a new address within seconds, or with its next regular report after five minutes. A longer mismatch is not a matter
 * of time; the next list reads the addresses again.
 */
const DOUBT_MS = 10 * 60_000;

/**
 * Reads Nodes by one complete list and a watch on their metadata. A new Node is read completely, and a Node without
 * podCIDRs at each of its changes until it has them, because podCIDRs never change afterwards. Addresses in a Node's
 * status may change without an event in such a watch. The annotations follow them, so if these claim an unknown
 * address, the Node is read again.
 */
export class KubernetesSource implements NodeSource {
  readonly #options: KubernetesSourceOptions;
  readonly #stopping = new AbortController();
  readonly #fetcher: NodeFetcher;
  readonly #loop: ListWatch<KubeNode, PartialNode>;
  #listener: SourceListener = () => undefined;
  /** Each Node as it was last read, with the latest metadata. */
  #held = new Map<string, KubeNode>();
  /** The fingerprints of the states that the listener last received, by name. */
  #reported = new Map<string, string>();
  /** The time since which a Node announces an address that is not its own. */
  readonly #doubtSinceMs = new Map<string, number>();
  #isWatching = false;
  #running: Promise<void> = Promise.resolve();

  constructor(api: NodeApi, options: Partial<KubernetesSourceOptions> = {}) {
    this.#options = { clock: SYSTEM_CLOCK, ownName: undefined, ...LIST_WATCH_DEFAULTS, ...options };
    const { clock, backoff } = this.#options;
    this.#fetcher = new NodeFetcher(
      {
        api,
        clock,
        backoff,
        onNode: (node) => this.#read(node),
        onFailure: (error, retryMs) => this.#failed(error, retryMs),
        onRecovery: () => {
          if (this.#isWatching) this.#listener({ type: "connected" });
        },
      },
      this.#stopping.signal,
    );
    this.#loop = new ListWatch(api, this.#options, {
      onList: (nodes) => this.#list(nodes),
      onChange: ({ type, object }) => (type === "DELETED" ? this.#deleted(object) : this.#changed(object)),
      onWatching: () => {
        this.#isWatching = true;
        this.#listener({ type: "connected" });
      },
      onFailure: (error, retryMs) => {
        this.#isWatching = false;
        this.#failed(error, retryMs);
      },
    });
  }

  start(listener: SourceListener): void {
    this.#listener = listener;
    this.#running = this.#loop.run(this.#stopping.signal);
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await Promise.all([this.#running, this.#fetcher.ended()]);
  }

  #failed(error: unknown, retryMs: number): void {
    const reason = error instanceof Error ? error.message : String(error);
    this.#listener({ type: "stale", silentMs: this.#loop.silentMs, reason, retryMs });
  }

  #list(nodes: readonly KubeNode[]): void {
    this.#fetcher.forgetAll();
    this.#doubtSinceMs.clear();
    this.#listener({ type: "sync", nodes: nodes.map(parseNode) });
    this.#held = new Map(nodes.map((node) => [node.metadata.name, node]));
    this.#reported = new Map(nodes.map((node) => [node.metadata.name, nodeFingerprint(node)]));
  }

  #deleted({ metadata: { name, uid } }: PartialNode): void {
    const held = this.#held.get(name);
    // A Node recreated under the name may have been read before the deletion of its predecessor arrived.
    if (held !== undefined && held.metadata.uid !== uid) return;
    this.#fetcher.forget(name);
    this.#doubtSinceMs.delete(name);
    if (this.#reported.has(name)) this.#listener({ type: "delete", name });
    this.#held.delete(name);
    this.#reported.delete(name);
  }

  #changed({ metadata }: PartialNode): void {
    const { name, uid, resourceVersion = "" } = metadata;
    const held = this.#held.get(name);
    if (held === undefined || held.metadata.uid !== uid) {
      this.#fetcher.want(name, resourceVersion);
      return;
    }
    if (isReached(resourceVersion, held.metadata.resourceVersion)) return;
    const node = { ...held, metadata };
    this.#held.set(name, node);
    const { podCidrs, hasRefusedClaim } = parseNode(node);
    const isIncomplete = podCidrs.length === 0 || (hasRefusedClaim && this.#isInDoubt(name));
    if (isIncomplete || name === this.#options.ownName) this.#fetcher.want(name, resourceVersion);
    // If the change were reported before the Node is read, its new address would be refused for a moment.
    if (!isIncomplete) this.#report(node);
  }

  /** True if it is worth reading a Node's addresses again because the known ones contradict its claim. */
  #isInDoubt(name: string): boolean {
    const nowMs = this.#options.clock.nowMs();
    const sinceMs = this.#doubtSinceMs.get(name) ?? nowMs;
    this.#doubtSinceMs.set(name, sinceMs);
    return nowMs - sinceMs < DOUBT_MS;
  }

  #read(node: KubeNode): void {
    const { name, uid, resourceVersion } = node.metadata;
    const held = this.#held.get(name);
    // The answer may be older than the last event of the watch. Then everything but its metadata is used.
    const isOvertaken = held?.metadata.uid === uid && isReached(resourceVersion ?? "", held?.metadata.resourceVersion);
    const current = isOvertaken && held !== undefined ? { ...node, metadata: held.metadata } : node;
    this.#held.set(name, current);
    if (!parseNode(current).hasRefusedClaim) this.#doubtSinceMs.delete(name);
    try {
      this.#report(current);
    } catch (error) {
      this.#loop.restart(error);
    }
  }

  #report(node: KubeNode): void {
    const { name } = node.metadata;
    const fingerprint = nodeFingerprint(node);
    if (this.#reported.get(name) === fingerprint) return;
    this.#listener({ type: "upsert", node: parseNode(node) });
    this.#reported.set(name, fingerprint);
  }
}

/**
 * True if version `a` is not later than `b`. Versions count up (KEP-5504). Text that is not a number counts as later.
 */
function isReached(a: string, b: string | undefined): boolean {
  const isNumber = (text: string | undefined): text is string => text !== undefined && /^\d+$/.test(text);
  return isNumber(a) && isNumber(b) && BigInt(a) <= BigInt(b);
}
