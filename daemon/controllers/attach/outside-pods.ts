/**
 * Reports pods whose addresses are no longer in a subnet of this node. They run and are Ready, and nothing else shows
 * that other nodes cannot reach them.
 */
import type { OutsidePod } from "../../../pkg/backend/renumbering.ts";
import { formatAddress } from "../../../pkg/ip/address.ts";
import { formatPrefix, type Prefix } from "../../../pkg/ip/prefix.ts";
import type { Health } from "../../core/health.ts";
import { LastReports } from "../../core/last-reports.ts";
import type { Logger } from "../../core/log.ts";
import type { EventReporter } from "../../sources/events.ts";

/** The API server limits a message to 1,024 characters, and an IPv6 address has up to 39. */
const ADDRESSES_SHOWN = 16;

export interface OutsidePodsParts {
  readonly nodeName: string;
  readonly health: Pick<Health, "warns">;
  readonly events: EventReporter;
  readonly log: Logger;
}

export class OutsidePods {
  readonly #parts: OutsidePodsParts;
  readonly #reports = new LastReports();
  /** Addresses that an Event has reported. */
  #told: ReadonlySet<string> = new Set();

  constructor(parts: OutsidePodsParts) {
    this.#parts = parts;
  }

  /** Reports the pods that a pass found. If it found fewer than before, no Event is needed. */
  report(subnets: readonly Prefix[], outside: readonly OutsidePod[]): void {
    const { nodeName, health, events, log } = this.#parts;
    const addresses = outside.map(({ address }) => formatAddress(address));
    const message = addresses.length === 0 ? "" : outsideText(nodeName, subnets, addresses);
    health.warns("pods", message === "" ? [] : [message]);
    if (addresses.some((address) => !this.#told.has(address)))
      events.report({ type: "Warning", reason: "PodsOutsideSubnet", message });
    this.#told = new Set(addresses);
    if (!this.#reports.isNew("pods", addresses.join())) return;
    if (addresses.length > 0)
      log.warn({ addresses, subnets: subnets.map(formatPrefix) }, "pods have addresses outside this node's subnets");
    else log.info("all pods have addresses of this node's subnets again");
  }
}

export function outsideText(nodeName: string, subnets: readonly Prefix[], addresses: readonly string[]): string {
  const shown = addresses.slice(0, ADDRESSES_SHOWN).join(", ");
  const others = addresses.length > ADDRESSES_SHOWN ? ` and ${addresses.length - ADDRESSES_SHOWN} more` : "";
  return (
    `pods run with addresses outside this node's subnets (${subnets.map(formatPrefix).join(", ")}): ${shown}${others}; ` +
    "other nodes cannot reach them, because this Node was registered again with other podCIDRs; delete these pods so that " +
    `they get new addresses: kubectl get pods -A -o wide --field-selector spec.nodeName=${nodeName}`
  );
}
