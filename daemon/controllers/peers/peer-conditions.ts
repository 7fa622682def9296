/**
 * Reports why peers are unreachable to the log, metrics, Events and /readyz. In /readyz a single peer's fault is a
 * warning and does not make this node unready.
 */
import type { PeerOfObject } from "../../../pkg/backend/attribution.ts";
import type { Peer } from "../../../pkg/backend/node.ts";
import type { PeerProblem, PeerTrouble } from "../../../pkg/backend/state.ts";
import type { NetlinkError } from "../../../pkg/netlink/errors.ts";
import type { ObjectIdentity, ObjectKind } from "../../../pkg/netlink/message.ts";
import { ContentionError } from "../../../pkg/reconcile/repair-gate.ts";
import { SeveralFailures } from "../../core/attempts.ts";
import { PeerRefusedError, RefusedError } from "../../core/drivers/programmer.ts";
import type { Health } from "../../core/health.ts";
import { LastReports } from "../../core/last-reports.ts";
import type { Logger } from "../../core/log.ts";
import type { Metrics } from "../../core/metrics.ts";
import type { EventReporter } from "../../sources/events.ts";

/** The number of problems in a log line. The rest is counted. */
const PROBLEMS_SHOWN = 10;

/**
 * Enough to see the affected peers. The limit keeps a cluster with faults at all peers from filling the monitoring
 * system's memory.
 */
const PEERS_IN_METRICS = 100;

/** At a start this fault affects every peer and ends by itself, so it causes no Event. */
const PASSING = "NotAnnounced";

/** Kinds of objects that serve one peer each, or a former one. Objects of other kinds serve this node itself. */
const PEER_KINDS: ReadonlySet<ObjectKind> = new Set<ObjectKind>(["route", "neighbour", "forwarding"]);

export interface PeerConditionsParts {
  readonly health: Pick<Health, "warns">;
  readonly metrics: Pick<Metrics, "peers" | "peerTroubles">;
  readonly events: EventReporter;
  readonly log: Logger;
}

export class PeerConditions {
  readonly #parts: PeerConditionsParts;
  readonly #reports = new LastReports();
  /** Faults that Events have reported and that persist. */
  #told: ReadonlySet<string> = new Set();

  constructor(parts: PeerConditionsParts) {
    this.#parts = parts;
  }

  /** Reports the outcome of a pass for the peers, and returns the number of connected peers. Logs only changes. */
  report(
    peers: readonly Peer[],
    problems: readonly PeerProblem[],
    { conflicts, refusals }: { readonly conflicts: readonly string[]; readonly refusals: readonly NetlinkError[] },
    peerOf: PeerOfObject,
  ): number {
    const { health, metrics, log } = this.#parts;
    const refused = refusals.map((refusal) => {
      const { object } = refusal.request;
      return { peer: object === undefined ? undefined : peerOf(object), refusal };
    });
    const troubles = [
      ...problems.map(({ peer, trouble, reason }) => ({ peer, reason: trouble, text: `${peer}: ${reason}` })),
      ...refused.flatMap(({ peer, refusal: { message } }) =>
        peer === undefined ? [] : [{ peer, reason: "Refused" as const, text: `${peer}: ${message}` }],
      ),
    ];
    this.#tell(troubles);
    const troubled = new Set(troubles.map(({ peer }) => peer));
    const connected = peers.filter(({ name, subnets }) => subnets.length > 0 && !troubled.has(name)).length;
    metrics.peers.set({ state: "connected" }, connected);
    metrics.peers.set({ state: "unconnected" }, peers.length - connected);
    metrics.peerTroubles.reset();
    for (const { peer, reason } of troubles.slice(0, PEERS_IN_METRICS)) metrics.peerTroubles.set({ peer, reason }, 1);

    const texts = [
      ...troubles.map(({ text }) => text),
      ...refused.flatMap(({ peer, refusal: { message } }) => (peer === undefined ? [message] : [])),
      ...conflicts,
    ];
    health.warns("peers", texts);
    if (this.#reports.isNew("problems", texts.join("\n"))) {
      const line = { problems: texts.slice(0, PROBLEMS_SHOWN), count: texts.length };
      if (texts.length > 0) log.warn(line, "some peers cannot be connected");
      else log.info("all peers can be connected");
    }
    return connected;
  }

  #tell(troubles: readonly { readonly reason: PeerTrouble | "Refused"; readonly text: string }[]): void {
    const lasting = troubles.filter(({ reason }) => reason !== PASSING);
    for (const { reason, text } of lasting) {
      if (this.#told.has(text)) continue;
      this.#parts.events.report({ type: "Warning", reason: `Peer${reason}`, message: text });
    }
    this.#told = new Set(lasting.map(({ text }) => text));
  }
}

/**
 * Returns the error of a pass with refusals. Refusals about single peers leave the node able to serve. If they
 * disconnect all of several peers, the fault is the node's own.
 */
export function refusedError(
  refusals: readonly NetlinkError[],
  count: { readonly peers: number; readonly connected: number },
): RefusedError {
  const isAboutPeers = refusals.every(({ request }) => isPeers(request.object));
  const isCutOff = count.peers > 1 && count.connected === 0;
  return isAboutPeers && !isCutOff ? new PeerRefusedError(refusals) : new RefusedError(refusals);
}

function isPeers(object: ObjectIdentity | undefined): boolean {
  return object !== undefined && PEER_KINDS.has(object.kind);
}

/**
 * True if a pass failed only for single ones of `peers` peers. This node then serves its pods and reaches the other
 * peers.
 */
export function isAboutPeers(failure: unknown, peers: number): boolean {
  if (failure instanceof SeveralFailures) return failure.errors.every((error) => isAboutPeers(error, peers));
  if (failure instanceof ContentionError)
    return failure.objects.every(({ identity }) => isPeers(identity)) && failure.objects.length < Math.max(peers, 2);
  return failure instanceof PeerRefusedError;
}

export function connectedText({ peers, connected }: { readonly peers: number; readonly connected: number }): string {
  return `${connected} of ${peers} peers connected`;
}
