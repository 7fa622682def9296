/**
 * Publishes this node's annotations for its peers. Runs apart from the reconcile loop, so the data path does not wait
 * for the API server.
 */

import type { Clock } from "../../pkg/cluster/clock.ts";
import { type Announcement, formatAnnotations, type RecordedPolicyMode } from "../../pkg/cluster/node/annotations.ts";
import type { ClusterNode } from "../../pkg/cluster/node/node.ts";
import type { NodeApi } from "../../pkg/cluster/node/node-api.ts";
import type { Logger } from "../core/log.ts";
import { Loop } from "../core/loop.ts";
import type { Metrics } from "../core/metrics.ts";

export interface AnnouncerOptions {
  readonly api: Pick<NodeApi, "publishAnnotations">;
  readonly nodeName: string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Metrics;
  /**
   * True if nothing may be published before `recordPolicyMode`. A Node then never has a backend without a mode, by which
   * other nodes recognise a cluster that has run pods without policies. [false]
   */
  readonly awaitsPolicyMode?: boolean;
}

const BACKOFF = { initialMs: 500, maxMs: 30_000 };

export class Announcer {
  readonly #options: AnnouncerOptions;
  readonly #stopping = new AbortController();
  readonly #loop: Loop;
  #announcement: Announcement | undefined;
  #text = "";
  #own: ClusterNode | undefined;
  #policyMode: RecordedPolicyMode | undefined;
  #awaitsPolicyMode: boolean;

  constructor(options: AnnouncerOptions) {
    const { clock, log, metrics } = options;
    this.#options = options;
    this.#awaitsPolicyMode = options.awaitsPolicyMode ?? false;
    this.#loop = new Loop({
      clock,
      backoff: BACKOFF,
      pass: () => this.#publish(),
      onFailure: (error, retryMs) => {
        if (this.#stopping.signal.aborted) return;
        metrics.announcementFailures.inc();
        log.warn({ err: error, retryMs: Math.round(retryMs) }, "annotations not published");
      },
    });
  }

  /**
   * Sets the annotations that the node must have from now on. `own` is the last known state of the Node; if its
   * annotations differ, another program has changed them, and they are published again.
   */
  announce(announcement: Announcement, own: ClusterNode): void {
    const whole = { ...announcement, ...(this.#policyMode && { networkPolicy: this.#policyMode }) };
    const text = textOf(whole);
    if (text === this.#text && (own === this.#own || isAnnounced(own, text))) return;
    this.#text = text;
    this.#own = own;
    this.#announcement = whole;
    if (!this.#awaitsPolicyMode) this.#loop.ask("announcement");
  }

  /** Sets how this node treats NetworkPolicies, for the next announcements and the present one. Undefined: not at all. */
  recordPolicyMode(mode: RecordedPolicyMode | undefined): void {
    this.#policyMode = mode;
    this.#awaitsPolicyMode = false;
    if (this.#announcement === undefined || this.#own === undefined) return;
    const { networkPolicy: _before, ...announcement } = this.#announcement;
    this.#text = "";
    this.announce(announcement, this.#own);
  }

  /** Aborts a running attempt. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#loop.stop();
  }

  async #publish(): Promise<void> {
    if (this.#announcement === undefined || this.#awaitsPolicyMode) return;
    const { api, nodeName, log } = this.#options;
    const wanted = formatAnnotations(this.#announcement);
    await api.publishAnnotations(nodeName, wanted, this.#stopping.signal);
    log.info({ annotations: wanted }, "annotations published");
  }
}

function textOf(announcement: Announcement): string {
  return JSON.stringify(formatAnnotations(announcement));
}

function isAnnounced({ managed, backend, ...own }: ClusterNode, text: string): boolean {
  if (!managed || backend === undefined) return false;
  const { publicIp, publicIpv6, networkPolicy } = own;
  const addresses = { ...(publicIp && { publicIp }), ...(publicIpv6 && { publicIpv6 }) };
  return textOf({ backend, ...addresses, ...(networkPolicy && { networkPolicy }) }) === text;
}
