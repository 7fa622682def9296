/**
 * Counts connections of Services, with separate counters only for those with the most: a cluster has too many Services
 * for a time series each.
 */
import { Counter, type Registry } from "prom-client";
import type { Family } from "../../../pkg/ip/address.ts";
import { isNetlinkError } from "../../../pkg/netlink/errors.ts";
import type { EventedNetlink } from "../../../pkg/netlink/evented.ts";
import { frontendKey } from "../../../pkg/services/frontend.ts";
import { connectionCountsDump, readConnectionCounts } from "../../../pkg/services/nftables/connection-counts.ts";
import type { Facts } from "../../core/topic.ts";
import { SERVICES_SEEN } from "../facts.ts";

/** Several Prometheus servers scrape one after the other. */
const SHARED_MS = 5000;
const FAMILIES: readonly Family[] = [4, 6];

export interface ConnectionCountersParts {
  readonly registry: Registry;
  readonly nftables: Pick<EventedNetlink, "dump">;
  readonly facts: Facts;
  readonly clock: { nowMs(): number };
  /** The number of Services with a counter. */
  readonly limit: number;
}

interface Counts {
  readonly total: number;
  readonly services: readonly (readonly [service: string, connections: number])[];
}

/** Registers the counters. The kernel is queried during each scrape. */
export function registerConnectionCounters(parts: ConnectionCountersParts): void {
  const { registry, clock } = parts;
  const registers = [registry];
  let last: { readonly atMs: number; readonly counts: Promise<Counts> } | undefined;
  const counts = () => {
    if (last === undefined || clock.nowMs() - last.atMs >= SHARED_MS)
      last = { atMs: clock.nowMs(), counts: count(parts) };
    return last.counts;
  };
  new Counter({
    name: "weft_service_connections_total",
    help: "Connections to a Service that began or arrived at this node, for the Services with the most; reset when their rules are re-created.",
    labelNames: ["namespace", "service"] as const,
    registers,
    async collect() {
      const { services } = await counts();
      this.reset();
      for (const [key, connections] of services) {
        const [namespace = "", service = ""] = key.split("/");
        this.inc({ namespace, service }, connections);
      }
    },
  });
  new Counter({
    name: "weft_services_connections_total",
    help: "Connections to all Services together that began or arrived at this node; reset when their rules are re-created.",
    registers,
    async collect() {
      const { total } = await counts();
      this.reset();
      this.inc(total);
    },
  });
}

async function count({ nftables, facts, limit }: ConnectionCountersParts): Promise<Counts> {
  const seen = facts.of(SERVICES_SEEN).value;
  const byFrontend = new Map<string, number>();
  for (const family of FAMILIES) {
    try {
      // Each message is processed as it arrives, so the dump of a large cluster does not delay other work. After an
      // interrupted dump the kernel reports the same counts for the same frontends again.
      await nftables.dump(connectionCountsDump(family), (message) => {
        for (const one of readConnectionCounts(message, family)) byFrontend.set(frontendKey(one), one.connections);
        return false;
      });
    } catch (error) {
      if (!isNetlinkError(error, "ENOENT")) throw error;
    }
  }
  const byService = new Map<string, number>();
  let total = 0;
  for (const [key, connections] of byFrontend) {
    total += connections;
    const service = seen?.serviceAt(key);
    if (service !== undefined && connections > 0) byService.set(service, (byService.get(service) ?? 0) + connections);
  }
  const services = [...byService].sort(([a, one], [b, other]) => other - one || (a < b ? -1 : 1)).slice(0, limit);
  return { total, services };
}
