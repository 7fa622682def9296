/** What weftd makes of the node source's events: the view, a line in the log, metrics, health, and a wish for a pass. */
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
  /** What a Node announces and cannot be used, beside what its parser has found. */
  readonly announcedProblems: (node: ClusterNode) => readonly string[];
  /** The kernel may have to follow. */
  readonly onChange: () => void;
}

/** The listener for a `NodeSource`. */
export function nodeEvents(options: NodeEventsOptions): (event: SourceEvent) => void {
  const { view, clock, health, metrics, events, log } = options;
  const problemsOf = (node: ClusterNode) => [...node.problems, ...options.announcedProblems(node)];
  let isConnected = false;
  let own: ClusterNode | undefined;

  const connection = (event: SourceEvent) => {
    if (event.type === "connected") {
      if (!isConnected) log.info("Node changes are followed");
      isConnected = true;
      metrics.watchConnected.set(1);
    } else if (event.type === "stale") {
      const { reason } = event;
      const times = { silentMs: Math.round(event.silentMs), retryMs: Math.round(event.retryMs) };
      if (!view.isSynced) health.fails("nodes", `never listed yet: ${reason}`);
      log.warn({ ...times, reason }, "Nodes cannot be followed; the data path stays as it is");
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
      log.info(describeNode(event.node), "Node is new or changed");
      logProblems(log, event.node, problemsOf(event.node));
    } else if (event.type === "delete") {
      log.info({ peer: event.name }, "Node is gone");
    }
    if (view.own !== undefined && view.own !== own) {
      own = view.own;
      // Only of this node: what is wrong with another's Node, its own weftd tells.
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
  if (problems.length > 0) log.warn({ peer: name, problems }, "Node has something that cannot be used");
}
