/**
 * Determines whether the programmed Services are up to date, by kube-proxy's rule
 * (pkg/proxy/healthcheck/proxy_health.go, 1.36): healthy while no change has waited longer than twice the period after
 * which a failed sync is retried.
 */
import type { Family } from "../../../pkg/ip/address.ts";

/** kube-proxy's syncPeriod is 30 s by default. */
export const HEALTH_TIMEOUT_MS = 2 * 30_000;

/** kube-proxy's names of families, in the order of its answers. */
export const IP_FAMILIES = { 4: "IPv4", 6: "IPv6" } as const satisfies Readonly<Record<Family, string>>;
const FAMILIES: readonly Family[] = [4, 6];

/** Go's zero time, which kube-proxy reports before the first sync. */
const NEVER = "0001-01-01T00:00:00Z";

export interface FamilyHealth {
  readonly lastUpdated: string;
  readonly healthy: boolean;
}

/** Fields in the order of kube-proxy's JSON. */
export interface HealthReport {
  /** The current time while healthy, as in kube-proxy: load balancers must not take an old update for a fault. */
  readonly lastUpdated: string;
  readonly currentTime: string;
  readonly healthy: boolean;
  readonly status: Readonly<Record<string, FamilyHealth>>;
}

export interface Times {
  /** Milliseconds of the clock. */
  nowMs(): number;
  /** Milliseconds since 1970. */
  dateMs(): number;
}

export class ProxyHealth {
  readonly #times: Times;
  readonly #updatedMs = new Map<Family, number>();
  #queuedSinceMs: number | undefined;

  constructor(times: Times) {
    this.#times = times;
  }

  /**
   * Sets the arrival time of the oldest unprogrammed change, in milliseconds of the clock; undefined if there is none.
   */
  queued(sinceMs: number | undefined): void {
    this.#queuedSinceMs = sinceMs;
  }

  /** Records a successful sync of these families at `atMs`, in milliseconds of the clock. */
  updated(families: readonly Family[], atMs: number): void {
    const { nowMs, dateMs } = this.#now();
    for (const family of families) this.#updatedMs.set(family, dateMs - (nowMs - atMs));
  }

  get isHealthy(): boolean {
    const waitedMs = this.#queuedSinceMs === undefined ? 0 : this.#times.nowMs() - this.#queuedSinceMs;
    return waitedMs < HEALTH_TIMEOUT_MS;
  }

  report(): HealthReport {
    const { dateMs } = this.#now();
    const healthy = this.isHealthy;
    const last = Math.max(...FAMILIES.map((family) => this.#updatedMs.get(family) ?? Number.NEGATIVE_INFINITY));
    const status = FAMILIES.map((family) => {
      return [IP_FAMILIES[family], { lastUpdated: timestamp(this.#updatedMs.get(family)), healthy }] as const;
    });
    return {
      lastUpdated: healthy ? timestamp(dateMs) : timestamp(Number.isFinite(last) ? last : undefined),
      currentTime: timestamp(dateMs),
      healthy,
      status: Object.fromEntries(status),
    };
  }

  #now() {
    return { nowMs: this.#times.nowMs(), dateMs: this.#times.dateMs() };
  }
}

/** Formats as in RFC 3339. */
function timestamp(ms: number | undefined): string {
  return ms === undefined ? NEVER : new Date(ms).toISOString();
}
