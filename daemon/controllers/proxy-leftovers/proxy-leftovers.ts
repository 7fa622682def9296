/**
 * Removes kube-proxy's rules from a node that weftd took over from it, after weftd's own rules are programmed. Existing
 * connections continue, since conntrack has their translation; new ones match weftd's rules.
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

/** The time between checks whether a kube-proxy programs Services as well. */
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
  /** The running removal. */
  #removal: LeftoverRemoval | undefined;
  /** True if all Services have been programmed since weftd serves them. */
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
    // A single pass of minutes would look as if it hung.
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

  /** False if the removal is not finished. */
  async #remove(): Promise<boolean> {
    const { log, health } = this.#parts;
    const removal = this.#removal ?? new LeftoverRemoval(this.#parts);
    // A failed removal is started again from the beginning.
    this.#removal = undefined;
    const removed = await removal.goOn();
    if (removed === undefined) {
      this.#removal = removal;
      const { done, of } = removal.progress;
      log.info({ done, of }, "removing kube-proxy's rules");
      health.warns(TOPIC, [`${done} of ${of} transactions for their removal done`]);
      return false;
    }
    health.warns(TOPIC, []);
    if (removed.found.length > 0) log.info({ ...removed }, "kube-proxy's rules removed");
    return true;
  }

  /**
   * Checks for rules that reappeared. They belong to a running kube-proxy and are not removed again, since it would
   * restore them.
   */
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
      `a kube-proxy programs Services in addition to weftd: ${found.join(", ")} reappeared; stop it: kubectl -n kube-system delete ` +
      "daemonset kube-proxy; weftd removes its rules at its next start";
    log.warn({ found }, "a kube-proxy programs Services in addition to weftd");
    health.warns(TOPIC, [message]);
    events.report({ type: "Warning", reason: "KubeProxyBeside", message });
  }

  #tellOfIpvs(isThere: boolean): void {
    const { health } = this.#parts;
    const message =
      `device ${IPVS_DEVICE}: kube-proxy's IPVS mode has left virtual servers, which take this node's own connections to Services ` +
      "instead of weftd's rules. weftd does not remove them; run kube-proxy --cleanup on the host";
    health.warns("IPVS", isThere ? [message] : []);
  }
}
