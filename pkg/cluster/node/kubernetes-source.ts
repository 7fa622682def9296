/** Nodes from a Kubernetes API server. */
import { SYSTEM_CLOCK } from "../clock.ts";
import { LIST_WATCH_DEFAULTS, ListWatch, type ListWatchOptions } from "../listwatch.ts";
import { type KubeNode, nodeFingerprint, type PartialNode, parseNode } from "./node.ts";
import type { NodeApi } from "./node-api.ts";
import { NodeFetcher } from "./node-fetcher.ts";
import type { NodeSource, SourceListener } from "./source.ts";

export interface KubernetesSourceOptions extends ListWatchOptions {
  /** This node's Node: it is read whole at each change, since its addresses decide on which interface it is reached. */
  readonly ownName: string | undefined;
}

/**
 * How long the addresses of a Node that announces others are asked for at each of its changes: a kubelet reports a new
 * address within seconds, or with its next regular report five minutes later. A claim that still stands against them
 * then is no matter of time; the next list reads them again.
 */
const DOUBT_MS = 10 * 60_000;

/**
 * Nodes by one whole list and a watch on their metadata. A new Node is read whole, and one without podCIDRs at each of
 * its changes until it has them; they never change after that. Addresses in a Node's status may, unheard by such a watch:
 * its annotations follow them, and where these claim an address that is none of those known, the Node is read again.
 */
export class KubernetesSource implements NodeSource {
  readonly #options: KubernetesSourceOptions;
  readonly #stopping = new AbortController();
  readonly #fetcher: NodeFetcher;
  readonly #loop: ListWatch<KubeNode, PartialNode>;
  #listener: SourceListener = () => undefined;
  /** Each Node as it was read, with the metadata last heard of. */
  #held = new Map<string, KubeNode>();
  /** What the listener knows, by name: the fingerprint of the state it was last told of. */
  #told = new Map<string, string>();
  /** Since when a Node's announced address is none of its own. */
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
    this.#told = new Map(nodes.map((node) => [node.metadata.name, nodeFingerprint(node)]));
  }

  #deleted({ metadata: { name, uid } }: PartialNode): void {
    const held = this.#held.get(name);
    // A Node made anew under the name may have been read before its predecessor's end was heard of.
    if (held !== undefined && held.metadata.uid !== uid) return;
    this.#fetcher.forget(name);
    this.#doubtSinceMs.delete(name);
    if (this.#told.has(name)) this.#listener({ type: "delete", name });
    this.#held.delete(name);
    this.#told.delete(name);
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
    // Told before it was read, the new address of a Node would be refused for a moment.
    if (!isIncomplete) this.#tell(node);
  }

  /** A Node's claim is refused by what is known of its addresses: true while it is worth reading them again. */
  #isInDoubt(name: string): boolean {
    const nowMs = this.#options.clock.nowMs();
    const sinceMs = this.#doubtSinceMs.get(name) ?? nowMs;
    this.#doubtSinceMs.set(name, sinceMs);
    return nowMs - sinceMs < DOUBT_MS;
  }

  #read(node: KubeNode): void {
    const { name, uid, resourceVersion } = node.metadata;
    const held = this.#held.get(name);
    // The answer may be older than what the watch told meanwhile: then it brings all but the metadata.
    const isOvertaken = held?.metadata.uid === uid && isReached(resourceVersion ?? "", held?.metadata.resourceVersion);
    const current = isOvertaken && held !== undefined ? { ...node, metadata: held.metadata } : node;
    this.#held.set(name, current);
    if (!parseNode(current).hasRefusedClaim) this.#doubtSinceMs.delete(name);
    try {
      this.#tell(current);
    } catch (error) {
      this.#loop.restart(error);
    }
  }

  #tell(node: KubeNode): void {
    const { name } = node.metadata;
    const fingerprint = nodeFingerprint(node);
    if (this.#told.get(name) === fingerprint) return;
    this.#listener({ type: "upsert", node: parseNode(node) });
    this.#told.set(name, fingerprint);
  }
}

/** True when version `a` is not later than `b`. They count up (KEP-5504); what is no number is taken for later. */
function isReached(a: string, b: string | undefined): boolean {
  const isNumber = (text: string | undefined): text is string => text !== undefined && /^\d+$/.test(text);
  return isNumber(a) && isNumber(b) && BigInt(a) <= BigInt(b);
}
