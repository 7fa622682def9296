/** Passes the changes from the stores of Services, EndpointSlices and ServiceCIDRs to the `ServiceMap`. */
import type { Clock } from "../../../pkg/cluster/clock.ts";
import type { StoreEntry, StoreIndex } from "../../../pkg/cluster/indexer.ts";
import type { EndpointSlice } from "../../../pkg/cluster/service/endpoint-slice.ts";
import type { Service } from "../../../pkg/cluster/service/service.ts";
import type { StoreNotice } from "../../../pkg/cluster/store.ts";
import type { Family } from "../../../pkg/ip/address.ts";
import type { Prefix } from "../../../pkg/ip/prefix.ts";
import type { ReservedAddress } from "../../../pkg/services/node-facts.ts";
import type { ServiceMap } from "../../../pkg/services/service-map.ts";
import type { ServiceSource } from "../../sources/service-source.ts";

/** The Service whose endpoints are the API servers. */
const API_SERVER_SERVICE = "default/kubernetes";
const IPPROTO_TCP = 6;

export interface ServiceFeedParts {
  readonly source: ServiceSource;
  readonly map: Pick<ServiceMap, "setService" | "setSlices">;
  readonly clock: Pick<Clock, "nowMs">;
  /** Called after any change, even if only of a store's status. */
  readonly onChange: () => void;
}

/** Received changes that are not programmed yet. */
export interface Heard {
  /** The arrival time of the first change; undefined if there is none. */
  readonly sinceMs: number | undefined;
  /** The numbers of changed Services and EndpointSlices. */
  readonly services: number;
  readonly slices: number;
  readonly families: ReadonlySet<Family>;
  readonly triggers: readonly { readonly family: Family; readonly triggeredMs: number }[];
}

export const NOTHING_HEARD: Heard = {
  ...{ sinceMs: undefined, services: 0, slices: 0, families: new Set<Family>(), triggers: [] },
};

export class ServiceFeed {
  readonly #parts: ServiceFeedParts;
  readonly #slicesOf: StoreIndex<EndpointSlice>;
  readonly #unsubscribe: readonly (() => void)[];
  #heard = NOTHING_HEARD;
  /**
   * True once the map has everything that was listed. A store's `hasSynced` is earlier: its objects arrive with its
   * next notice. Without their EndpointSlices, Services would lose their endpoints in the kernel.
   */
  readonly #listed = { services: false, slices: false };

  constructor(parts: ServiceFeedParts) {
    const { source } = parts;
    this.#parts = parts;
    this.#slicesOf = source.slices.addIndex(({ value }) => value.service);
    this.#unsubscribe = [
      source.services.subscribe((notice) => this.#servicesChanged(notice)),
      source.slices.subscribe((notice) => this.#slicesChanged(notice)),
      source.cidrs.subscribe(() => parts.onChange()),
    ];
  }

  /**
   * True if all Services and EndpointSlices are known, so that a missing object does not exist. ServiceCIDRs that
   * cannot be listed (for example for lack of permissions from an earlier version) do not delay Services.
   */
  get isSynced(): boolean {
    const { cidrs } = this.#parts.source;
    const { services, slices } = this.#listed;
    return services && slices && (cidrs.hasSynced || cidrs.status.phase === "stale");
  }

  /** Returns why the programmed state may be outdated, one line for each kind of object. */
  warnings(): readonly string[] {
    const { services, slices, cidrs } = this.#parts.source;
    const kinds = [
      ["Services", services.status],
      ["EndpointSlices", slices.status],
      ["ServiceCIDRs", cidrs.status],
    ] as const;
    return kinds.flatMap(([kind, { phase, reason }]) =>
      phase === "stale" ? [`${kind} cannot be watched; the programmed state stays: ${reason}`] : [],
    );
  }

  get serviceRanges(): readonly Prefix[] {
    return this.#parts.source.cidrs.list().flatMap(({ value }) => value.cidrs);
  }

  /** The API servers' addresses, from the endpoints of `default/kubernetes`. */
  get apiServers(): readonly ReservedAddress[] {
    return this.#slicesOf
      .get(API_SERVER_SERVICE)
      .flatMap(({ value: { ports, endpoints } }) =>
        ports
          .filter(({ protocol }) => protocol === IPPROTO_TCP)
          .flatMap(({ port }) => endpoints.map(({ address }) => ({ address, port }))),
      );
  }

  get heard(): Heard {
    return this.#heard;
  }

  /** Returns and clears the changes that a pass beginning now will program. */
  take(): Heard {
    const taken = this.#heard;
    this.#heard = NOTHING_HEARD;
    return taken;
  }

  /** Restores the changes after a failed pass. */
  giveBack(taken: Heard): void {
    this.#heard = joined(taken, this.#heard);
  }

  stop(): void {
    for (const end of this.#unsubscribe) end();
  }

  #servicesChanged({ changes, status }: StoreNotice<Service>): void {
    const { map, onChange } = this.#parts;
    for (const { key, after } of changes) map.setService(key, after?.value);
    const families = changes.flatMap(({ before, after }) =>
      [before, after].flatMap((entry) => entry?.value.clusterIPs.map(({ family }) => family) ?? []),
    );
    this.#note({ services: changes.length, families: new Set(families) });
    this.#listed.services ||= status.hasSynced;
    onChange();
  }

  #slicesChanged({ changes, status }: StoreNotice<EndpointSlice>): void {
    const { map, onChange } = this.#parts;
    // A Service may have many slices, and several change at once.
    const touched = new Set(changes.flatMap(({ before, after }) => [before, after].flatMap(serviceOf)));
    for (const service of touched)
      map.setSlices(
        service,
        this.#slicesOf.get(service).map(({ value }) => value),
      );
    const families = changes.flatMap(({ before, after }) => (after ?? before)?.value.family ?? []);
    const triggers = changes.flatMap(({ before, after }) => {
      const { family, triggeredMs } = after?.value ?? {};
      const isNew = triggeredMs !== undefined && triggeredMs !== before?.value.triggeredMs;
      // Slices that exist at the start changed earlier, so their triggers do not count.
      return this.#listed.slices && isNew && family !== undefined ? [{ family, triggeredMs }] : [];
    });
    this.#note({ slices: changes.length, families: new Set(families), triggers });
    this.#listed.slices ||= status.hasSynced;
    onChange();
  }

  #note(changes: Partial<Heard>): void {
    const { services = 0, slices = 0 } = changes;
    if (services + slices === 0) return;
    this.#heard = joined(this.#heard, { ...NOTHING_HEARD, ...changes, sinceMs: this.#parts.clock.nowMs() });
  }
}

function serviceOf(entry: StoreEntry<EndpointSlice> | undefined): string[] {
  return entry === undefined ? [] : [entry.value.service];
}

function joined(a: Heard, b: Heard): Heard {
  return {
    sinceMs: a.sinceMs ?? b.sinceMs,
    services: a.services + b.services,
    slices: a.slices + b.slices,
    families: new Set([...a.families, ...b.families]),
    triggers: [...a.triggers, ...b.triggers],
  };
}
