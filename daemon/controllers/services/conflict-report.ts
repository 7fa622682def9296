/**
 * Reports Services that claim an address, protocol and port of another Service: by accident, or to divert its traffic
 * (CVE-2020-8554). Events are about this node and name both Services.
 */
import { formatAddress } from "../../../pkg/ip/address.ts";
import type { LostClaim } from "../../../pkg/services/claims.ts";
import type { Health } from "../../core/health.ts";
import type { Logger } from "../../core/log.ts";
import type { EventReporter } from "../../sources/events.ts";

/**
 * The number of Events per report. One Service may claim all addresses of another one; `weft services` shows the rest.
 */
const EVENTS_AT_ONCE = 5;

const PROTOCOL_NAMES = { 6: "TCP", 17: "UDP", 132: "SCTP" } as const;

export interface ConflictReportParts {
  readonly events: EventReporter;
  readonly health: Pick<Health, "warns">;
  readonly log: Logger;
}

export class ConflictReport {
  readonly #parts: ConflictReportParts;
  #told: ReadonlySet<string> = new Set();
  #last: readonly LostClaim[] | undefined;

  constructor(parts: ConflictReportParts) {
    this.#parts = parts;
  }

  /**
   * Reports the complete current list. A conflict is reported once, and again only after it was resolved meanwhile. An
   * unchanged list costs nothing.
   */
  report(lost: readonly LostClaim[]): void {
    if (lost === this.#last || (lost.length === 0 && this.#told.size === 0)) return;
    this.#last = lost;
    const { events, health, log } = this.#parts;
    const messages = [...new Set(lost.map(conflictText))].sort();
    const fresh = messages.filter((message) => !this.#told.has(message));
    this.#told = new Set(messages);
    health.warns("service conflicts", messages);
    for (const message of fresh.slice(0, EVENTS_AT_ONCE))
      events.report({ type: "Warning", reason: "ServiceConflict", message });
    if (fresh.length > 0) log.warn({ conflicts: fresh }, "Services claim addresses of other Services");
  }
}

function conflictText({ frontend, winner }: LostClaim): string {
  const { service, kind, address, protocol, port } = frontend;
  const place = `${formatAddress(address)} port ${port}/${PROTOCOL_NAMES[protocol]}`;
  return (
    `Service ${service} claims ${place} as its ${kind}, which Service ${winner.service} has as its ${winner.kind}: ` +
    `connections go to ${winner.service}; change one of the two`
  );
}
