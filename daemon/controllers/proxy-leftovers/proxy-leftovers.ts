/**
 * What kube-proxy has left on a node that weftd took over from it: removed once weftd's own rules stand. Connections go on,
 * since conntrack has their translation; new ones find weftd's rules.
 */
import { IPVS_DEVICE } from "../../../pkg/foreign/kube-proxy/names.ts";
import type { Pass, Runnable } from "../../core/controller.ts";
import type { Health } from "../../core/health.ts";
import { LastReports } from "../../core/last-reports.ts";
import type { Logger } from "../../core/log.ts";
import { type Facts, Topic } from "../../core/topic.ts";
import type { EventReporter } from "../../sources/events.ts";
import { PROXY_TURN, SERVICES_SYNC } from "../facts.ts";
import { LeftoverRemoval, lookForLeftovers, type RemovalParts } from "./removal.ts";

/** How often it is looked whether a kube-proxy programs beside weftd. */
const LOOK_MS = 60_000;

const TOPIC = "kube-proxy's rules";

export interface ProxyLeftoversParts extends RemovalParts {
  readonly facts: Facts;
  readonly health: Pick<Health, "warns">;
  readonly events: EventReporter;
  readonly log: Logger;
}

export class ProxyLeftoversController implements Runnable {
  readonly name = "proxy-leftovers";
  readonly subscriptions;
  readonly #parts: ProxyLeftoversParts;
  readonly #unsubscribe: () => void;
  readonly #reports = new LastReports();
  /** The one under way. */
  #removal: LeftoverRemoval | undefined;
  /** All Services have been in the kernel since the turn is ours. */
  #isProgrammed = false;
  #isRemoved = false;
  #isBeside = false;

  constructor(parts: ProxyLeftoversParts) {
    const { facts } = parts;
    this.#parts = parts;
    const sync = facts.of(SERVICES_SYNC);
    const programmed = new Topic("Services are programmed");
    this.#unsubscribe = sync.subscribe(() => {
      if (this.#isProgrammed || sync.value?.kind !== "full" || !sync.value.isSuccess) return;
      this.#isProgrammed = true;
      programmed.notify();
    });
    this.subscriptions = { topics: [facts.of(PROXY_TURN), programmed], intervalMs: LOOK_MS };
  }

  async run({ kernel, later }: Pass): Promise<void> {
    if (this.#parts.facts.of(PROXY_TURN).value?.isOurs !== true || !this.#isProgrammed) return;
    // A pass of minutes would look like one that hangs.
    if (!this.#isRemoved && !(await this.#remove())) return later("removal", this.#removal?.restMs ?? 0);
    if (this.#isRemoved) await this.#look();
    this.#isRemoved = true;
    const { state } = await kernel.snapshot();
    this.#tellOfIpvs(state.links.some(({ name }) => name === IPVS_DEVICE));
  }

  failed(error: unknown, retryMs: number): void {
    const { log, health, events } = this.#parts;
    const message = `kube-proxy's rules cannot be removed: ${error instanceof Error ? error.message : String(error)}`;
    health.warns(TOPIC, [message]);
    if (!this.#reports.isNew("failure", message)) return;
    log.warn({ err: error, retryMs: Math.round(retryMs) }, "kube-proxy's rules cannot be removed");
    events.report({ type: "Warning", reason: "ProxyRulesLeft", message });
  }

  stop(): void {
    this.#unsubscribe();
  }

  /** False where there is more to do. */
  async #remove(): Promise<boolean> {
    const { log, health } = this.#parts;
    const removal = this.#removal ?? new LeftoverRemoval(this.#parts);
    // One that fails is begun anew.
    this.#removal = undefined;
    const removed = await removal.goOn();
    if (removed === undefined) {
      this.#removal = removal;
      const { done, of } = removal.progress;
      log.info({ done, of }, "removing kube-proxy's rules");
      health.warns(TOPIC, [`${done} of ${of} transactions of their removal are done`]);
      return false;
    }
    health.warns(TOPIC, []);
    if (removed.found.length > 0) log.info({ ...removed }, "kube-proxy's rules are removed");
    return true;
  }

  /** What comes back after its removal is no leftover: it is not removed again, since its owner would put it back. */
  async #look(): Promise<void> {
    const { log, health, events, nftables } = this.#parts;
    const { found } = await lookForLeftovers(nftables);
    if (found.length === 0) {
      if (this.#isBeside) health.warns(TOPIC, []);
      this.#isBeside = false;
      return;
    }
    if (this.#isBeside) return;
    this.#isBeside = true;
    const message =
      `a kube-proxy programs Services beside weftd: ${found.join(", ")} came back. Stop it: kubectl -n kube-system delete ` +
      "daemonset kube-proxy; weftd removes its rules at its next start";
    log.warn({ found }, "a kube-proxy programs Services beside weftd");
    health.warns(TOPIC, [message]);
    events.report({ type: "Warning", reason: "KubeProxyBeside", message });
  }

  #tellOfIpvs(isThere: boolean): void {
    const { health } = this.#parts;
    const message =
      `device ${IPVS_DEVICE}: kube-proxy's IPVS mode has left virtual servers, which answer in place of weftd's rules for this ` +
      "node's own connections. weftd does not remove them; run kube-proxy --cleanup on the host";
    health.warns("IPVS", isThere ? [message] : []);
  }
}
