/** weftd's requests about Nodes to the API server, and its writes: annotations, a condition, Events. */
import type { Connection } from "../connection.ts";
import type { Advice } from "../errors.ts";
import type { ListerWatcher, Page, WatchHandlers, WatchRequest } from "../listwatch.ts";
import type { KubeObject, Resource } from "../resource.ts";
import { MERGE_PATCH, type PatchRequest, ResourceClient, STRATEGIC_MERGE_PATCH } from "../resource-client.ts";
import { differingAnnotations, type WantedAnnotations } from "./annotations.ts";
import { essentialMetadata, essentialNode, type KubeNode, type NodeCondition, type PartialNode } from "./node.ts";

/**
 * An Event of core/v1 with the fields that weft writes. It is about a Node, which has no namespace, so it is in
 * `default`.
 */
export interface NodeEvent {
  readonly node: string;
  /** The Node's uid, if it is known. */
  readonly uid: string | undefined;
  readonly type: "Normal" | "Warning";
  /** In CamelCase, for programs. */
  readonly reason: string;
  readonly message: string;
  /** RFC 3339. */
  readonly firstTimestamp: string;
  readonly lastTimestamp: string;
  readonly count: number;
}

const NODES: Resource = { group: "", version: "v1", plural: "nodes", kind: "Node", isNamespaced: false };
const EVENTS: Resource = { group: "", version: "v1", plural: "events", kind: "Event", isNamespaced: true };
const EVENT_NAMESPACE = "default";
const COMPONENT = "weftd";

const ADVICE: Advice = {
  403: "the account needs get, list and watch on nodes, patch on nodes/status, create and patch on events",
  404: "check that this node is registered and that --node-name is its name in the cluster",
};

/**
 * Lists complete Nodes and watches their metadata: names, uids and annotations, without the status that every kubelet
 * writes frequently. Only the parts of each Node that `node.ts` reads are kept. All methods throw `KubernetesError`.
 */
export class NodeApi implements ListerWatcher<KubeNode, PartialNode> {
  readonly subject = NODES.plural;
  readonly #nodes: ResourceClient;
  readonly #events: ResourceClient;

  constructor(connection: Connection) {
    this.#nodes = new ResourceClient(connection, NODES, ADVICE);
    this.#events = new ResourceClient(connection, EVENTS, ADVICE);
  }

  listPage(limit: number, next: string | undefined, signal?: AbortSignal): Promise<Page<KubeNode>> {
    return this.#nodes.listPage({ form: "whole", limit, next }, nodeOf, signal);
  }

  watch(request: WatchRequest, handlers: WatchHandlers<PartialNode>, signal?: AbortSignal): Promise<void> {
    return this.#nodes.watch(
      { ...request, form: "metadata" },
      {
        onOpen: () => handlers.onOpen(),
        onEvent: (event) =>
          handlers.onEvent(event.type === "BOOKMARK" ? event : { ...event, object: essentialMetadata(event.object) }),
      },
      signal,
    );
  }

  /**
   * Throws with status 404 if the Node does not exist; see `isNotFound`. With `version`, the answer may be as old as
   * that, so the server can use its cache; without, it is current.
   */
  async getNode(name: string, signal?: AbortSignal, version?: string): Promise<KubeNode> {
    return nodeOf(await this.#nodes.get({ name, version }, signal));
  }

  /** Sets the Node's annotations to `wanted`. Writes only if they differ. Returns the resulting Node. */
  async publishAnnotations(name: string, wanted: WantedAnnotations, signal?: AbortSignal): Promise<KubeNode> {
    const current = await this.getNode(name, signal);
    const annotations = differingAnnotations(current.metadata.annotations ?? {}, wanted);
    if (annotations === undefined) return current;
    const patch = { metadata: { annotations } };
    return this.#patchStatus({ operation: `annotate node ${name}`, name, mediaType: MERGE_PATCH, patch }, signal);
  }

  /**
   * Sets `status` and `reason` of the Node's condition of this type. Writes only if they differ. `now` is in RFC 3339
   * format. The time of the last transition is kept if the status does not change. Returns the resulting Node.
   */
  async publishCondition(name: string, condition: NodeCondition, now: string, signal?: AbortSignal): Promise<KubeNode> {
    const current = await this.getNode(name, signal);
    const held = current.status?.conditions?.find(({ type }) => type === condition.type);
    if (held?.status === condition.status && held.reason === condition.reason) return current;
    const since = held?.status === condition.status ? (held.lastTransitionTime ?? now) : now;
    const written = { ...condition, lastHeartbeatTime: now, lastTransitionTime: since };
    const operation = `set condition ${condition.type} of node ${name}`;
    const patch = { status: { conditions: [written] } };
    return this.#patchStatus({ operation, name, mediaType: STRATEGIC_MERGE_PATCH, patch }, signal);
  }

  /** Returns the Event's name, which `countEvent` needs. */
  async createEvent(event: NodeEvent, signal?: AbortSignal): Promise<string> {
    const { node, uid, ...content } = event;
    const object = {
      apiVersion: "v1",
      kind: EVENTS.kind,
      metadata: { generateName: `${node}.${COMPONENT}.`, namespace: EVENT_NAMESPACE },
      // A kubelet's Events have the Node's name as uid; `kubectl describe node` searches for both.
      involvedObject: { apiVersion: "v1", kind: NODES.kind, name: node, uid: uid ?? node },
      source: { component: COMPONENT, host: node },
      reportingComponent: COMPONENT,
      reportingInstance: node,
      ...content,
    };
    const operation = `create event ${event.reason} about node ${node}`;
    const made = await this.#events.create({ operation, namespace: EVENT_NAMESPACE, object }, signal);
    return made.metadata.name;
  }

  /** Throws with status 404 if the Event has expired, which happens after an hour. */
  async countEvent(
    name: string,
    { count, lastTimestamp }: Pick<NodeEvent, "count" | "lastTimestamp">,
    signal?: AbortSignal,
  ): Promise<void> {
    const target = { operation: `count event ${name}`, namespace: EVENT_NAMESPACE, name };
    await this.#events.patch({ ...target, mediaType: MERGE_PATCH, patch: { count, lastTimestamp } }, signal);
  }

  /** Writes to nodes/status, for which flannel's ClusterRole grants the right. */
  async #patchStatus(request: PatchRequest, signal: AbortSignal | undefined): Promise<KubeNode> {
    return nodeOf(await this.#nodes.patch({ ...request, subresource: "status" }, signal));
  }
}

/** The fields of a Node are not checked here: `node.ts` validates them. */
function nodeOf(object: KubeObject): KubeNode {
  return essentialNode(object as KubeNode);
}
