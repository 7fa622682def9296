/** What weftd asks of the API server: Nodes in pages, a watch on them, one Node; its own annotations, condition, Events. */
import { differingAnnotations, type WantedAnnotations } from "./annotations.ts";
import type { Connection } from "./connection.ts";
import { KubernetesError } from "./errors.ts";
import { LineSplitter } from "./lines.ts";
import { essentialMetadata, essentialNode, type KubeNode, type NodeCondition, type PartialNode } from "./node.ts";

export interface NodePage {
  readonly nodes: readonly KubeNode[];
  /** The version that the list shows; a watch from here misses nothing. */
  readonly version: string;
  /** Where the next page begins; undefined on the last one. */
  readonly next: string | undefined;
}

export type WatchEvent =
  | { readonly type: "ADDED" | "MODIFIED" | "DELETED"; readonly node: PartialNode; readonly version: string }
  /** Nothing happened up to this version. */
  | { readonly type: "BOOKMARK"; readonly version: string };

export interface WatchRequest {
  readonly version: string;
  /** After this time the server ends the watch. */
  readonly timeoutSeconds: number;
  /** Longer than the time between two bookmarks, a minute or a little more. */
  readonly silenceMs: number;
}

export interface WatchHandlers {
  onOpen(): void;
  onEvent(event: WatchEvent): void;
}

/** An Event of core/v1, as far as it is written. It is about the Node, which has no namespace: it lies in `default`. */
export interface NodeEvent {
  readonly node: string;
  /** The Node's uid, if it is known. */
  readonly uid: string | undefined;
  readonly type: "Normal" | "Warning";
  /** In CamelCase, for machines. */
  readonly reason: string;
  readonly message: string;
  /** RFC 3339. */
  readonly firstTimestamp: string;
  readonly lastTimestamp: string;
  readonly count: number;
}

const NODES = "/api/v1/nodes";
const EVENTS = "/api/v1/namespaces/default/events";
const COMPONENT = "weftd";
const MERGE_PATCH = "application/merge-patch+json";

/** Lists whose items have a key are merged by it: one condition is written, the others stay. */
const STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json";

/** What a watch asks for: names, uids and annotations, without the status that every kubelet writes all the time. */
const METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

/** All methods throw `KubernetesError`. Of each Node only what `node.ts` reads is handed on. */
export class NodeApi {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** Throws with status 410 when the list behind `next` is no longer held. */
  async listPage(limit: number, next: string | undefined, signal?: AbortSignal): Promise<NodePage> {
    const query = new URLSearchParams({ limit: String(limit) });
    if (next !== undefined) query.set("continue", next);
    const operation = "list nodes";
    const answer = await this.#get(operation, `${NODES}?${query}`, signal);
    const { metadata, items } = (answer ?? {}) as { metadata?: ListMetadata; items?: unknown };
    if (!metadata?.resourceVersion || !Array.isArray(items) || !items.every(isNode)) {
      throw new KubernetesError("protocol", `${operation}: the answer is no list of Nodes`);
    }
    return {
      nodes: items.map(essentialNode),
      version: metadata.resourceVersion,
      next: metadata.continue || undefined,
    };
  }

  /** Tells of metadata only. Resolves when the server ends the watch; an ERROR event is thrown as a refusal with its code. */
  async watch(request: WatchRequest, handlers: WatchHandlers, signal?: AbortSignal): Promise<void> {
    const query = new URLSearchParams({
      watch: "true",
      allowWatchBookmarks: "true",
      resourceVersion: request.version,
      timeoutSeconds: String(request.timeoutSeconds),
    });
    const operation = "watch nodes";
    const lines = new LineSplitter();
    await this.#connection.stream(
      { operation, method: "GET", path: `${NODES}?${query}`, accept: METADATA },
      request.silenceMs,
      {
        onOpen: () => handlers.onOpen(),
        onBytes: (bytes) => {
          for (const line of lines.push(bytes)) handlers.onEvent(parseEvent(line));
        },
      },
      signal,
    );
    if (lines.isInLine) throw new KubernetesError("connection", `${operation}: the answer ended inside an event`);
  }

  /**
   * Throws with status 404 when there is none; see `isNotFound`. With `version` the answer may be as old as that, which
   * a server can give from its cache; without, it is the present one.
   */
  async getNode(name: string, signal?: AbortSignal, version?: string): Promise<KubeNode> {
    const operation = `get node ${name}`;
    const query = version === undefined ? "" : `?${new URLSearchParams({ resourceVersion: version })}`;
    const node = await this.#get(operation, `${nodePath(name)}${query}`, signal);
    if (!isNode(node)) throw new KubernetesError("protocol", `${operation}: the answer is no Node`);
    return essentialNode(node);
  }

  /**
   * Makes the Node's annotations be as `wanted` says, and writes only when they are not. Returns the Node as it is then.
   */
  async publishAnnotations(name: string, wanted: WantedAnnotations, signal?: AbortSignal): Promise<KubeNode> {
    const current = await this.getNode(name, signal);
    const annotations = differingAnnotations(current.metadata.annotations ?? {}, wanted);
    if (annotations === undefined) return current;
    return this.#patchStatus(`annotate node ${name}`, name, MERGE_PATCH, { metadata: { annotations } }, signal);
  }

  /**
   * Makes the Node's condition of this type have `status` and `reason`, and writes only when it has not. `now` is RFC
   * 3339's; when the status stays as it is, so does the time of its last transition. Returns the Node as it is then.
   */
  async publishCondition(name: string, condition: NodeCondition, now: string, signal?: AbortSignal): Promise<KubeNode> {
    const current = await this.getNode(name, signal);
    const held = current.status?.conditions?.find(({ type }) => type === condition.type);
    if (held?.status === condition.status && held.reason === condition.reason) return current;
    const since = held?.status === condition.status ? (held.lastTransitionTime ?? now) : now;
    const written = { ...condition, lastHeartbeatTime: now, lastTransitionTime: since };
    const operation = `set condition ${condition.type} of node ${name}`;
    return this.#patchStatus(operation, name, STRATEGIC_MERGE_PATCH, { status: { conditions: [written] } }, signal);
  }

  /** Returns the name under which it can be counted up. */
  async createEvent(event: NodeEvent, signal?: AbortSignal): Promise<string> {
    const { node, uid, ...content } = event;
    const operation = `create event ${event.reason} about node ${node}`;
    const body = {
      apiVersion: "v1",
      kind: "Event",
      metadata: { generateName: `${node}.${COMPONENT}.`, namespace: "default" },
      // A kubelet's Events have the Node's name for a uid; `kubectl describe node` looks for both.
      involvedObject: { apiVersion: "v1", kind: "Node", name: node, uid: uid ?? node },
      source: { component: COMPONENT, host: node },
      reportingComponent: COMPONENT,
      reportingInstance: node,
      ...content,
    };
    const text = JSON.stringify(body);
    const request = { operation, method: "POST", path: EVENTS, body: { mediaType: "application/json", text } } as const;
    const made = (await this.#connection.request(request, signal)) as { metadata?: { name?: unknown } } | null;
    const name = made?.metadata?.name;
    if (typeof name !== "string") throw new KubernetesError("protocol", `${operation}: the answer is no Event`);
    return name;
  }

  /** Throws with status 404 when the Event has expired, as they do after an hour. */
  async countEvent(
    name: string,
    { count, lastTimestamp }: Pick<NodeEvent, "count" | "lastTimestamp">,
    signal?: AbortSignal,
  ): Promise<void> {
    const body = { mediaType: MERGE_PATCH, text: JSON.stringify({ count, lastTimestamp }) };
    const path = `${EVENTS}/${encodeURIComponent(name)}`;
    await this.#connection.request({ operation: `count event ${name}`, method: "PATCH", path, body }, signal);
  }

  /**
   * Ends all connections, those in use too: their requests fail, a watch goes on by a new one. For a host whose address
   * has changed: nothing comes by the old one any more, and nobody says so.
   */
  reconnect(): void {
    this.#connection.close();
  }

  /** Lets go of idle connections. */
  close(): void {
    this.#connection.close();
  }

  /** Through nodes/status, where flannel's ClusterRole gives the right to. */
  async #patchStatus(
    operation: string,
    name: string,
    mediaType: string,
    patch: object,
    signal: AbortSignal | undefined,
  ): Promise<KubeNode> {
    const body = { mediaType, text: JSON.stringify(patch) };
    const request = { operation, method: "PATCH", path: `${nodePath(name)}/status`, body } as const;
    const node = await this.#connection.request(request, signal);
    if (!isNode(node)) throw new KubernetesError("protocol", `${operation}: the answer is no Node`);
    return essentialNode(node);
  }

  #get(operation: string, path: string, signal: AbortSignal | undefined): Promise<unknown> {
    return this.#connection.request({ operation, method: "GET", path }, signal);
  }
}

interface ListMetadata {
  readonly resourceVersion?: string;
  readonly continue?: string;
}

function nodePath(name: string): string {
  return `${NODES}/${encodeURIComponent(name)}`;
}

function isNode(value: unknown): value is KubeNode {
  const { metadata } = (value ?? {}) as { metadata?: { name?: unknown } };
  return typeof metadata?.name === "string" && metadata.name !== "";
}

function parseEvent(line: string): WatchEvent {
  let event: { type?: unknown; object?: unknown };
  try {
    event = (JSON.parse(line) ?? {}) as typeof event;
  } catch (cause) {
    throw new KubernetesError("protocol", "watch nodes: an event is not JSON", { cause });
  }
  const object = (event.object ?? {}) as { metadata?: { resourceVersion?: string }; code?: number; message?: string };
  const version = object.metadata?.resourceVersion;
  switch (event.type) {
    case "ERROR": {
      const { code = 500, message = "no reason given" } = object;
      throw new KubernetesError("refused", `watch nodes: ended by the server: ${code} ${message}`, { status: code });
    }
    case "BOOKMARK":
      if (version) return { type: event.type, version };
      break;
    case "ADDED":
    case "MODIFIED":
    case "DELETED":
      if (version && isNode(object)) return { type: event.type, node: essentialMetadata(object), version };
      break;
  }
  throw new KubernetesError("protocol", `watch nodes: an event makes no sense: ${line.slice(0, 200)}`);
}
