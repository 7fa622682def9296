/**
 * Programs this node's Services. A change of a Service or EndpointSlice becomes a few elements (`change`, the fast
 * path). Everything is compared with the kernel (`compare`, the slow path) at the start, after any event that makes the
 * kernel's state uncertain, and periodically.
 *
 * When weftd stops, the table stays. While another proxy serves Services, nothing is programmed or removed.
 */
import { isDeepStrictEqual } from "node:util";
import type { Clock } from "../../../pkg/cluster/clock.ts";
import { formatAddress } from "../../../pkg/ip/address.ts";
import type { Message } from "../../../pkg/netlink/message.ts";
import { ContentionError, type RepairGate } from "../../../pkg/reconcile/repair-gate.ts";
import type { Frontend, FrontendChange, NodeSettings } from "../../../pkg/services/frontend.ts";
import type { NodeFacts } from "../../../pkg/services/node-facts.ts";
import type { ServiceMap } from "../../../pkg/services/service-map.ts";
import type { Pass, Runnable, Subscriptions, Trigger } from "../../core/controller.ts";
import { Doubts } from "../../core/doubts.ts";
import type { SentTransactions } from "../../core/drivers/table-programmer.ts";
import type { Health } from "../../core/health.ts";
import type { Logger } from "../../core/log.ts";
import { type Facts, Topic } from "../../core/topic.ts";
import type { Options } from "../../options.ts";
import type { ClusterSide } from "../../sources/cluster-side.ts";
import type { NodeView } from "../../sources/node-view.ts";
import type { ServiceSource } from "../../sources/service-source.ts";
import {
  LOOPBACK_GUARDED,
  PODS_SEEN,
  PROXY_TURN,
  SERVICES_PROGRAMMED,
  SERVICES_QUEUED,
  SERVICES_SEEN,
  SERVICES_SYNC,
} from "../facts.ts";
import type { ConflictReport } from "./conflict-report.ts";
import type { LocalAddresses } from "./local-addresses.ts";
import { nodeFacts, nodeSettings } from "./node-facts.ts";
import { type Heard, ServiceFeed } from "./service-feed.ts";
import type { ServiceMetrics, SyncKind } from "./service-metrics.ts";
import { SERVICES_PLACE, type ServiceProgrammer } from "./service-programmer.ts";
import { type ServicesState, servicesPage } from "./services-page.ts";

/** The topic of changes of Services and EndpointSlices since the last pass. */
const CHANGE = "services";

const FAMILIES = [4, 6] as const;

/** A program that flushes a ruleset and loads another one does so in one or several transactions. */
const DAMAGE_DELAY_MS = 5;

/**
 * How long the first comparison waits for other controllers' facts. Without them, a restart would remove what depends
 * on them from the kernel and restore it a moment later.
 */
const FACTS_LIMIT_MS = 3000;

/** Changes within this time after a failed pass join its retry, because each retry compares everything. */
const PATIENCE_MS = 1000;

export interface ServicesParts {
  readonly options: Options;
  readonly map: ServiceMap;
  readonly source: ServiceSource;
  readonly cluster: Pick<ClusterSide, "apiServers">;
  readonly view: Pick<NodeView, "own" | "isSynced">;
  readonly nodes: Topic;
  readonly addresses: Pick<LocalAddresses, "heard" | "read" | "forget">;
  readonly programmer: Pick<ServiceProgrammer, "compare" | "change">;
  readonly gate: Pick<RepairGate, "nextMs" | "assertNothingRests">;
  readonly metrics: Pick<ServiceMetrics, "synced">;
  readonly conflicts: Pick<ConflictReport, "report">;
  readonly facts: Facts;
  readonly health: Pick<Health, "holds" | "fails" | "warns">;
  readonly clock: Clock;
  readonly log: Logger;
}

/** The last sync, for reports. */
interface LastSync {
  readonly kind: SyncKind;
  readonly endedMs: number;
  readonly durationMs: number;
  readonly sent: SentTransactions | undefined;
  readonly error: string | undefined;
}

export class ServicesController implements Runnable {
  readonly name = "services";
  readonly subscriptions: Subscriptions;
  readonly retry: NonNullable<Runnable["retry"]>;
  readonly pages: NonNullable<Runnable["pages"]> = { services: (query) => this.#page(query) };
  readonly #parts: ServicesParts;
  readonly #feed: ServiceFeed;
  readonly #doubts: Doubts;
  #own: NodeView["own"];
  #facts: NodeFacts | undefined;
  #settings: NodeSettings | undefined;
  /** The time since which only facts are missing. */
  #waitsSinceMs: number | undefined;
  #last: LastSync | undefined;

  constructor(parts: ServicesParts) {
    const { facts, source, map, clock, nodes, gate, health } = parts;
    this.#parts = parts;
    this.#doubts = new Doubts(clock);
    const change = new Topic(CHANGE);
    this.#feed = new ServiceFeed({
      ...{ source, map, clock },
      onChange: () => {
        this.#publishQueue();
        change.notify({ isPatient: true });
      },
    });
    this.subscriptions = {
      topics: [change, nodes, facts.of(PODS_SEEN), facts.of(PROXY_TURN), facts.of(LOOPBACK_GUARDED)],
      reasonFor: (message: Message): Trigger | undefined => parts.addresses.heard(message),
      ownTable: {
        place: SERVICES_PLACE,
        onChange: () => {
          this.#doubts.add("damage");
          return { delayMs: DAMAGE_DELAY_MS, isPatient: true };
        },
      },
      atStart: true,
    };
    this.retry = { promisingMs: () => gate.nextMs(), patienceMs: PATIENCE_MS };
    health.fails("services", "not tried yet");
  }

  async run(pass: Pass): Promise<void> {
    const { facts, health, addresses } = this.#parts;
    if (facts.of(PROXY_TURN).value?.isOurs !== true) {
      // The other program may change anything meanwhile.
      this.#doubts.add("turn");
      health.holds("services", "another program serves Services; weftd neither programs nor removes anything");
      return;
    }
    health.warns("services", this.#feed.warnings());
    // Lost notifications may have been about addresses.
    if (pass.reasons.some((reason) => reason !== CHANGE)) addresses.forget();
    const isKnown = await this.#followNode();
    if (!isKnown || !this.#feed.isSynced) {
      health.fails(
        "services",
        isKnown ? "Services and EndpointSlices are not listed yet" : "this Node is not known yet",
      );
      return;
    }
    const waitMs = this.#factsWaitMs();
    if (waitMs > 0) return pass.later("facts", waitMs);
    const heard = this.#feed.take();
    try {
      await this.#sync(heard, pass);
    } catch (error) {
      this.#feed.giveBack(heard);
      throw error;
    } finally {
      this.#publishQueue();
      for (const [doubt, delayMs] of this.#doubts.upcoming()) pass.later(doubt, delayMs);
    }
    this.#assertNothingRests();
    if (!this.#doubts.isContended) this.#isProgrammed();
  }

  #assertNothingRests(): void {
    try {
      this.#parts.gate.assertNothingRests();
    } catch (error) {
      // Passes on the fast path may run before the retry of this one.
      if (error instanceof ContentionError) this.#doubts.restsUntil(error.untilMs);
      throw error;
    }
  }

  /** Returns how long the first comparison must wait for other controllers. */
  #factsWaitMs(): number {
    const { options, facts, clock } = this.#parts;
    if (this.#last !== undefined) return 0;
    const awaited = [
      ...(options.pods ? [facts.of(PODS_SEEN)] : []),
      ...(options.nodeportAddresses.hasLocalhost ? [facts.of(LOOPBACK_GUARDED)] : []),
    ];
    if (awaited.every(({ value }) => value !== undefined)) return 0;
    this.#waitsSinceMs ??= clock.nowMs();
    return Math.max(0, this.#waitsSinceMs + FACTS_LIMIT_MS - clock.nowMs());
  }

  #isProgrammed(): void {
    const { health, map } = this.#parts;
    const { services, endpoints } = map.counts();
    health.holds("services", `${services} Services with ${endpoints} endpoints are programmed`);
  }

  failed(error: unknown, retryMs: number): void {
    const { health, log } = this.#parts;
    const reason = error instanceof Error ? error.message : String(error);
    health.fails("services", reason);
    log.error({ err: error, retryMs: Math.round(retryMs) }, "Services are not programmed");
  }

  stop(): void {
    this.#feed.stop();
  }

  async debug(): Promise<{ readonly services: ServicesState }> {
    return { services: this.#state() };
  }

  #page(query: URLSearchParams): Iterable<string> {
    const { map } = this.#parts;
    return servicesPage({ map, state: this.#state(), node: this.#facts, settings: this.#settings }, query);
  }

  #state(): ServicesState {
    const { options, facts, map, clock } = this.#parts;
    const { services, endpoints } = map.counts();
    const { kind, endedMs, durationMs, sent, error } = this.#last ?? { endedMs: 0, durationMs: 0 };
    return {
      mode: options.serviceProxy,
      isOurs: facts.of(PROXY_TURN).value?.isOurs === true,
      isSynced: this.#feed.isSynced,
      warnings: this.#feed.warnings(),
      doubts: this.#doubts.current,
      counts: { services, frontends: map.frontendCount, endpoints },
      ...(kind !== undefined && {
        lastSync: {
          ...{ kind, agoMs: Math.round(clock.nowMs() - endedMs), durationMs: Math.round(durationMs * 10) / 10 },
          ...(sent && { transactions: sent.transactions, requests: sent.requests }),
          ...(error !== undefined && { error }),
        },
      }),
    };
  }

  /** False while this node's identity is unknown. A deleted Node counts as unchanged. */
  async #followNode(): Promise<boolean> {
    const { options, view, addresses, facts, cluster, map, log } = this.#parts;
    if (!view.isSynced) return false;
    this.#own = view.own ?? this.#own;
    const sight = {
      ...{ options, own: this.#own, local: await addresses.read() },
      outsidePods: facts.of(PODS_SEEN).value?.renumbering?.outside.map(({ address }) => address) ?? [],
      apiServers: [...cluster.apiServers, ...this.#feed.apiServers],
      serviceRanges: this.#feed.serviceRanges,
      isLoopbackGuarded: facts.of(LOOPBACK_GUARDED).value === true,
    };
    const known = nodeFacts(sight);
    if (!isDeepStrictEqual(known, this.#facts)) {
      log.info(
        { zone: known.zone, nodePortAddresses: known.nodePortAddresses.map(formatAddress) },
        "Services: facts of this node changed",
      );
      this.#facts = known;
      map.setNode(known);
    }
    const settings = nodeSettings(sight);
    if (!isDeepStrictEqual(settings, this.#settings)) this.#doubts.add("settings");
    this.#settings = settings;
    return true;
  }

  async #sync(heard: Heard, pass: Pass): Promise<void> {
    if (this.#doubts.current.length > 0) return this.#full(heard, pass);
    const { map, programmer, log } = this.#parts;
    const changes = map.changes();
    if (changes.length === 0 && heard.sinceMs === undefined) return;
    try {
      await this.#timed("partial", heard, changes, () => programmer.change(changes));
    } catch (error) {
      log.warn({ err: error }, "the kernel refused a change of Services; comparing everything");
      this.#doubts.add("failure");
      await this.#full(heard, pass);
    }
  }

  async #full(heard: Heard, { reasons }: Pass): Promise<void> {
    const { map, programmer, log } = this.#parts;
    const settings = this.#settings;
    if (settings === undefined) return;
    const comparison = this.#doubts.begin(map.changes().length > 0);
    const { doubts, isRepair, repairs } = comparison;
    const frontends: readonly Frontend[] = [...map.frontends()];
    try {
      const sent = await this.#timed("full", heard, undefined, () => programmer.compare(frontends, settings, repairs));
      this.#doubts.succeeded(sent.resting);
      const durationMs = Math.round((this.#last?.durationMs ?? 0) * 10) / 10;
      const line = { reasons, doubts, frontends: frontends.length, ...sent, durationMs };
      if (sent.requests > 0 && isRepair)
        log.info(line, "restored Services that another program had removed or changed");
      else log.info(line, "Services compared with the kernel");
    } catch (error) {
      this.#doubts.failed(comparison);
      throw error;
    }
  }

  /** Runs a sync and reports its outcome. */
  async #timed(
    kind: SyncKind,
    heard: Heard,
    changes: readonly FrontendChange[] | undefined,
    send: () => Promise<SentTransactions>,
  ): Promise<SentTransactions> {
    const beganMs = this.#parts.clock.nowMs();
    try {
      const sent = await send();
      this.#ended(kind, heard, beganMs, sent, undefined);
      this.#publishProgrammed(changes, sent.transactions > 0);
      return sent;
    } catch (error) {
      this.#ended(kind, heard, beganMs, undefined, error instanceof Error ? error.message : String(error));
      throw error;
    }
  }

  #ended(
    kind: SyncKind,
    heard: Heard,
    beganMs: number,
    sent: SentTransactions | undefined,
    error: string | undefined,
  ): void {
    const { clock, metrics, facts } = this.#parts;
    const endedMs = clock.nowMs();
    const durationMs = endedMs - beganMs;
    const isSuccess = error === undefined;
    this.#last = { kind, endedMs, durationMs, sent, error };
    const latencyMs = heard.sinceMs === undefined ? undefined : endedMs - heard.sinceMs;
    metrics.synced({ kind, durationMs, isSuccess, sent, latencyMs });
    facts.of(SERVICES_SYNC).publish({
      ...{ kind, isSuccess, durationMs, atMs: endedMs },
      families: [...heard.families],
      ...{ serviceChanges: heard.services, endpointChanges: heard.slices, triggers: heard.triggers },
    });
  }

  #publishQueue(): void {
    const { sinceMs, services, slices } = this.#feed.heard;
    this.#parts.facts.of(SERVICES_QUEUED).publish({ sinceMs, services, endpoints: slices });
  }

  #publishProgrammed(changes: readonly FrontendChange[] | undefined, hasWritten: boolean): void {
    const { facts, map, conflicts } = this.#parts;
    if (changes?.length !== 0)
      facts.of(SERVICES_PROGRAMMED).publish({ changes, hasWritten, frontends: () => map.frontends() });
    // A Service may lose all its claims, or get another health check port, without a change of a frontend.
    conflicts.report(map.lostClaims());
    const { withoutLocalInternal, withoutLocalExternal } = map.counts();
    facts.of(SERVICES_SEEN).publish({
      healthChecks: map.healthChecks(),
      nodePortAddresses: this.#facts?.nodePortAddresses,
      withoutLocalEndpoints: FAMILIES.flatMap((family) => [
        { family, policy: "internal" as const, count: withoutLocalInternal[family] },
        { family, policy: "external" as const, count: withoutLocalExternal[family] },
      ]),
      serviceAt: (key) => map.frontendAt(key)?.service,
    });
  }
}
