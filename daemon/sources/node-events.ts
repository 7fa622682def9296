/** Processes the node source's events: updates the view, the log, metrics and health, and requests a pass. */
import type { Clock } from "../../pkg/cluster/clock.ts";
import type { ClusterNode } from "../../pkg/cluster/node/node.ts";
import type { SourceEvent } from "../../pkg/cluster/node/source.ts";
import { formatAddress } from "../../pkg/ip/address.ts";
import { formatPrefix } from "../../pkg/ip/prefix.ts";
import type { Health } from "../core/health.ts";
import type { Logger } from "../core/log.ts";
import type { Metrics } from "../core/metrics.ts";
import type { EventReporter } from "./events.ts";
import type { NodeView } from "./node-view.ts";

export interface NodeEventsOptions {
  readonly view: NodeView;
  readonly clock: Clock;
  readonly health: Health;
  readonly metrics: Metrics;
  readonly events: EventReporter;
  readonly log: Logger;
  /** Returns the unusable parts of a Node's announcement, besides the problems that its parser has found. */
  readonly announcedProblems: (node: ClusterNode) => readonly string[];
  /** Called after a change that may require programming. */
  readonly onChange: () => void;
}

/** Returns the listener for a `NodeSource`. */
export function nodeEvents(options: NodeEventsOptions): (event: SourceEvent) => void {
  const { view, clock, health, metrics, events, log } = options;
  const problemsOf = (node: ClusterNode) => [...node.problems, ...options.announcedProblems(node)];
  let isConnected = false;
  let own: ClusterNode | undefined;

  const connection = (event: SourceEvent) => {
    if (event.type === "connected") {
      if (!isConnected) log.info("watching Nodes");
      isConnected = true;
      metrics.watchConnected.set(1);
    } else if (event.type === "stale") {
      const { reason } = event;
      const times = { silentMs: Math.round(event.silentMs), retryMs: Math.round(event.retryMs) };
      if (!view.isSynced) health.fails("nodes", `not listed yet: ${reason}`);
      log.warn({ ...times, reason }, "cannot watch Nodes; the data path stays in place");
      isConnected = false;
      metrics.watchConnected.set(0);
      metrics.watchFailures.inc();
    }
  };

  return (event) => {
    health.sourceSpoke();
    connection(event);
    if (!view.accept(event, clock.nowMs())) return;
    if (event.type === "sync") {
      log.info({ nodes: event.nodes.length }, "Nodes listed");
      for (const node of event.nodes) logProblems(log, node, problemsOf(node));
    } else if (event.type === "upsert") {
      log.info(describeNode(event.node), "Node added or changed");
      logProblems(log, event.node, problemsOf(event.node));
    } else if (event.type === "delete") {
      log.info({ peer: event.name }, "Node deleted");
    }
    if (view.own !== undefined && view.own !== own) {
      own = view.own;
      // Only for this node: each other node's weftd reports the problems of its own Node.
      for (const message of problemsOf(own)) events.report({ type: "Warning", reason: "NodeUnusable", message });
    }
    if (view.isSynced) health.holds("nodes", `${view.peerCount} peers known`);
    options.onChange();
  };
}

function describeNode(node: ClusterNode) {
  const { name, podCidrs, publicIp, publicIpv6, backend } = node;
  return {
    peer: name,
    podCidrs: podCidrs.map(formatPrefix),
    publicIp: [publicIp, publicIpv6].flatMap((address) => (address === undefined ? [] : [formatAddress(address)])),
    backend: backend?.type,
  };
}

function logProblems(log: Logger, { name }: ClusterNode, problems: readonly string[]): void {
  if (problems.length > 0) log.warn({ peer: name, problems }, "Node has unusable values");
}
