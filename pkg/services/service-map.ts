/**
 * The Services of a cluster as one node serves them, updated event by event. Input: Services, EndpointSlices and facts
 * of the node. Output: frontends, and their changes since the last call. Pure; the result is the same for every order
 * of events.
 *
 * The cost of an event depends only on its Service: the ports, addresses and endpoints, not the number of Services.
 * Only a change of the node's facts computes all Services again.
 */
import type { EndpointSlice } from "../cluster/service/endpoint-slice.ts";
import type { Service } from "../cluster/service/service.ts";
import { addressKey, type Family } from "../ip/address.ts";
import { Claims, type LostClaim } from "./claims.ts";
import { type Frontend, type FrontendChange, frontendKey } from "./frontend.ts";
import { isSameNode, type NodeFacts } from "./node-facts.ts";
import { isSameFrontend } from "./same-frontend.ts";
import { frontendsOf, type PerFamily, type ServiceCounts } from "./service-frontends.ts";
import { reportService, type ServiceReport } from "./service-report.ts";

interface ServiceState {
  service: Service | undefined;
  slices: readonly EndpointSlice[];
  /** The frontends that the Service requests; other Services may have some of them. */
  claims: readonly Frontend[];
  /** The creation time that its current claims were added with. */
  created: string;
  counts: ServiceCounts;
}

/** A Service with a health check port for load balancers. */
export interface HealthCheck {
  /** "namespace/name" */
  readonly service: string;
  readonly port: number;
  readonly localEndpoints: number;
}

const NONE: PerFamily = { 4: 0, 6: 0 };
const ZERO: ServiceCounts = { services: 0, endpoints: 0, withoutLocalInternal: NONE, withoutLocalExternal: NONE };

function addCounts(a: ServiceCounts, b: ServiceCounts, sign: 1 | -1): ServiceCounts {
  const add = (one: PerFamily, other: PerFamily) => ({ 4: one[4] + sign * other[4], 6: one[6] + sign * other[6] });
  return {
    services: a.services + sign * b.services,
    endpoints: a.endpoints + sign * b.endpoints,
    withoutLocalInternal: add(a.withoutLocalInternal, b.withoutLocalInternal),
    withoutLocalExternal: add(a.withoutLocalExternal, b.withoutLocalExternal),
  };
}

export class ServiceMap {
  #node: NodeFacts | undefined;
  readonly #states = new Map<string, ServiceState>();
  readonly #claims = new Claims((key) => this.#states.get(key)?.created ?? "");
  /** Services whose frontends must be computed again. */
  readonly #pending = new Set<string>();
  /** For each frontend that may have changed, its state at the last `changes` call, by key. */
  readonly #told = new Map<string, Frontend | undefined>();
  /** By "namespace/name". */
  readonly #healthChecks = new Map<string, HealthCheck>();
  /** Cached until one of them changes. */
  #listedHealthChecks: readonly HealthCheck[] | undefined;
  #counts = ZERO;

  /** `key` is "namespace/name"; `service` is undefined if the Service has been removed. */
  setService(key: string, service: Service | undefined): void {
    this.#stateOf(key).service = service;
    this.#pending.add(key);
  }

  /** `slices` are all EndpointSlices of the Service `key`, which need not exist yet. */
  setSlices(key: string, slices: readonly EndpointSlice[]): void {
    this.#stateOf(key).slices = slices;
    this.#pending.add(key);
  }

  /** Nothing is served before the first call. A call with the same facts costs nothing. */
  setNode(node: NodeFacts): void {
    if (isSameNode(this.#node, node)) return;
    this.#node = node;
    for (const key of this.#states.keys()) this.#pending.add(key);
  }

  /** The changes since the last call. A frontend that has its former state again is not a change. */
  changes(): readonly FrontendChange[] {
    this.#settle();
    const changes: FrontendChange[] = [];
    for (const [key, before] of this.#told) {
      const after = this.#claims.winner(key);
      if (!isSameFrontend(before, after)) changes.push({ before, after });
    }
    this.#told.clear();
    return changes;
  }

  /** All frontends, in any order. Consume it before the next event. */
  frontends(): Iterable<Frontend> {
    this.#settle();
    return this.#claims.winners();
  }

  /** The number of `frontends`. */
  get frontendCount(): number {
    this.#settle();
    return this.#claims.size;
  }

  /** By `frontendKey`. */
  frontendAt(key: string): Frontend | undefined {
    this.#settle();
    return this.#claims.winner(key);
  }

  /** The keys of all known Services, served or not. */
  services(): string[] {
    return [...this.#states].flatMap(([key, { service }]) => (service === undefined ? [] : [key]));
  }

  /** Explains the state of a Service on this node; undefined if the Service or the node is not known. */
  report(key: string): ServiceReport | undefined {
    this.#settle();
    const { service, slices, claims } = this.#states.get(key) ?? {};
    if (service === undefined || slices === undefined || claims === undefined || this.#node === undefined)
      return undefined;
    return reportService(key, service, slices, this.#node, this.#claims.lostOf(claims));
  }

  /** All frontends that Services request and other Services have. Returns the same list while nothing in it changes. */
  lostClaims(): readonly LostClaim[] {
    this.#settle();
    return this.#claims.lost();
  }

  /** The sums over all Services, without computation. */
  counts(): ServiceCounts {
    this.#settle();
    return this.#counts;
  }

  /**
   * Services of type LoadBalancer with externalTrafficPolicy Local and a healthCheckNodePort. Returns the same list
   * while nothing in it changes.
   */
  healthChecks(): readonly HealthCheck[] {
    this.#settle();
    this.#listedHealthChecks ??= [...this.#healthChecks.values()];
    return this.#listedHealthChecks;
  }

  /**
   * The number of this node's addresses that are ready in the Service's EndpointSlices, whatever their ports. With two
   * families, the larger number: a pod with two addresses counts once.
   */
  localReadyEndpoints(key: string): number {
    const addresses: Record<Family, Set<string>> = { 4: new Set(), 6: new Set() };
    for (const { family, ports, endpoints } of this.#states.get(key)?.slices ?? []) {
      if (ports.length === 0) continue;
      for (const { address, isReady, nodeName } of endpoints) {
        if (isReady && nodeName !== undefined && nodeName === this.#node?.name)
          addresses[family].add(addressKey(address));
      }
    }
    return Math.max(addresses[4].size, addresses[6].size);
  }

  #stateOf(key: string): ServiceState {
    const known = this.#states.get(key);
    if (known !== undefined) return known;
    const state: ServiceState = { service: undefined, slices: [], claims: [], created: "", counts: ZERO };
    this.#states.set(key, state);
    return state;
  }

  #settle(): void {
    if (this.#node === undefined) return;
    for (const key of this.#pending) this.#compute(key, this.#stateOf(key), this.#node);
    this.#pending.clear();
  }

  #compute(key: string, state: ServiceState, node: NodeFacts): void {
    const { service, slices } = state;
    const { frontends = [], counts = ZERO } = service === undefined ? {} : frontendsOf(key, service, slices, node);
    this.#claim(key, state, frontends, service?.created ?? "");
    this.#counts = addCounts(addCounts(this.#counts, state.counts, -1), counts, 1);
    state.counts = counts;
    this.#followHealthCheck(key, service);
    if (service === undefined && slices.length === 0) this.#states.delete(key);
  }

  #followHealthCheck(key: string, service: Service | undefined): void {
    const known = this.#healthChecks.get(key);
    if (service === undefined || !isHealthChecked(service)) {
      if (this.#healthChecks.delete(key)) this.#listedHealthChecks = undefined;
      return;
    }
    const { healthCheckNodePort: port } = service;
    const localEndpoints = this.localReadyEndpoints(key);
    if (known?.port === port && known.localEndpoints === localEndpoints) return;
    this.#healthChecks.set(key, { service: key, port, localEndpoints });
    this.#listedHealthChecks = undefined;
  }

  /** Replaces the claims of a Service by `frontends`. Unchanged ones stay the same objects. */
  #claim(key: string, state: ServiceState, frontends: readonly Frontend[], created: string): void {
    const obsolete = new Map(state.claims.map((frontend) => [frontendKey(frontend), frontend]));
    const added = new Map<string, Frontend>();
    const isSameAge = created === state.created;
    state.claims = frontends.map((frontend) => {
      const claim = frontendKey(frontend);
      const known = obsolete.get(claim);
      if (known !== undefined && isSameAge && isSameFrontend(known, frontend)) {
        obsolete.delete(claim);
        return known;
      }
      added.set(claim, frontend);
      return frontend;
    });
    for (const claim of [...obsolete.keys(), ...added.keys()]) {
      if (!this.#told.has(claim)) this.#told.set(claim, this.#claims.winner(claim));
    }
    for (const claim of obsolete.keys()) this.#claims.remove(claim, key);
    state.created = created;
    for (const [claim, frontend] of added) this.#claims.add(claim, frontend);
  }
}

function isHealthChecked({ type, clusterIPs, externalTrafficPolicy, healthCheckNodePort }: Service): boolean {
  return (
    type === "LoadBalancer" && clusterIPs.length > 0 && externalTrafficPolicy === "Local" && healthCheckNodePort !== 0
  );
}
