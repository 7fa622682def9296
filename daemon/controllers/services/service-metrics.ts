/** weft's own metrics of Services. `service-health` has those with kube-proxy's names. */
import { Counter, Gauge, Histogram, type Registry } from "prom-client";
import { FRONTEND_KINDS } from "../../../pkg/services/frontend.ts";
import type { ServiceMap } from "../../../pkg/services/service-map.ts";
import type { SentTransactions } from "../../core/drivers/table-programmer.ts";

/** From half a millisecond (one endpoint) to some seconds (a cold start with tens of thousands of Services). */
const SYNC_BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

export type SyncKind = "full" | "partial";

export interface SyncReport {
  readonly kind: SyncKind;
  readonly durationMs: number;
  readonly isSuccess: boolean;
  /** Undefined if the sync failed. */
  readonly sent: SentTransactions | undefined;
  /**
   * The time from the arrival of the first change that the sync programmed to its end; undefined if it programmed no
   * change.
   */
  readonly latencyMs: number | undefined;
}

export class ServiceMetrics {
  readonly #duration: Histogram<"kind" | "result">;
  readonly #latency: Histogram;
  readonly #transactions: Counter;
  readonly #requests: Counter;

  constructor(registry: Registry, map: Pick<ServiceMap, "counts" | "frontends">) {
    const registers = [registry];
    new Gauge({
      name: "weft_services",
      help: "Services with a ClusterIP that weftd serves.",
      registers,
      collect() {
        this.set(map.counts().services);
      },
    });
    new Gauge({
      name: "weft_service_frontends",
      help: `Frontends (address, protocol and port) of Services on this node, by kind: ${FRONTEND_KINDS.join(", ")}.`,
      labelNames: ["kind"] as const,
      registers,
      collect() {
        // `inc` formats the labels at each call, which takes 3 ms for 30,000 frontends.
        const counts = new Map<string, number>();
        for (const { kind } of map.frontends()) counts.set(kind, (counts.get(kind) ?? 0) + 1);
        for (const kind of FRONTEND_KINDS) this.set({ kind }, counts.get(kind) ?? 0);
      },
    });
    new Gauge({
      name: "weft_service_endpoints",
      help: "Endpoints of the Services' ports, used by this node or not.",
      registers,
      collect() {
        this.set(map.counts().endpoints);
      },
    });
    this.#duration = new Histogram({
      name: "weft_service_sync_duration_seconds",
      help: "Duration of one sync of Services, by kind (full: everything was compared; partial: changes were sent) and result.",
      labelNames: ["kind", "result"] as const,
      buckets: SYNC_BUCKETS,
      registers,
    });
    this.#latency = new Histogram({
      name: "weft_service_programming_latency_seconds",
      help: "Time from the arrival of a change of a Service or EndpointSlice to the commit that programs it.",
      buckets: SYNC_BUCKETS,
      registers,
    });
    this.#transactions = new Counter({
      name: "weft_service_transactions_total",
      help: "nftables transactions for Services that the kernel has committed.",
      registers,
    });
    this.#requests = new Counter({
      name: "weft_service_requests_total",
      help: "Requests in those transactions: each adds or removes elements, or another object.",
      registers,
    });
  }

  synced({ kind, durationMs, isSuccess, sent, latencyMs }: SyncReport): void {
    this.#duration.observe({ kind, result: isSuccess ? "success" : "failure" }, durationMs / 1000);
    if (isSuccess && latencyMs !== undefined) this.#latency.observe(latencyMs / 1000);
    if (sent === undefined) return;
    this.#transactions.inc(sent.transactions);
    this.#requests.inc(sent.requests);
  }
}
