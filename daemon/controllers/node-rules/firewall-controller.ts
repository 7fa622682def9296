/**
 * Maintains the node's nftables: our own table, and rules in other programs' forward chains. Other programs commit all
 * the time, so a commit triggers a check of our own table only, apart from all other comparisons.
 */
import type { Table } from "../../../pkg/nft/table.ts";
import type { RepairGate } from "../../../pkg/reconcile/repair-gate.ts";
import { changeAddresses, nodeRules } from "../../../pkg/tables/node-rules.ts";
import type { Pass, Runnable, Subscriptions } from "../../core/controller.ts";
import type { Health } from "../../core/health.ts";
import type { Logger } from "../../core/log.ts";
import type { PassScope } from "../../core/loop.ts";
import type { Metrics } from "../../core/metrics.ts";
import type { Facts } from "../../core/topic.ts";
import type { Options } from "../../options.ts";
import { FIREWALLED, PEER_ADDRESSES, type PeerAddresses } from "../facts.ts";
import type { Firewall } from "./firewall.ts";
import { podRanges } from "./ranges.ts";

export interface FirewallControllerParts {
  readonly options: Pick<Options, "nonMasqueradeCidrs" | "vxlanFrom" | "outsideHosts">;
  readonly facts: Facts;
  readonly firewall: Pick<Firewall, "keep" | "change" | "restore" | "delayMs" | "forwardDueInMs">;
  readonly gate: Pick<RepairGate, "nextMs" | "assertNothingRests">;
  readonly health: Pick<Health, "holds" | "fails">;
  readonly metrics: Pick<Metrics, "changes">;
  readonly log: Logger;
}

const FULL_COMPARISON_MS = 60_000;

export class FirewallController implements Runnable {
  readonly name = "firewall";
  readonly subscriptions: Subscriptions;
  readonly retry: NonNullable<Runnable["retry"]>;
  readonly #parts: FirewallControllerParts;
  /** The addresses that were programmed last. */
  #kept: PeerAddresses | undefined;
  /** True if the last pass was successful. */
  #isGood = false;

  constructor(parts: FirewallControllerParts) {
    const { facts, firewall, gate, health } = parts;
    this.#parts = parts;
    this.subscriptions = {
      topics: [facts.of(PEER_ADDRESSES)],
      onRuleset: () => ({ delayMs: firewall.delayMs }),
      intervalMs: FULL_COMPARISON_MS,
    };
    this.retry = { promisingMs: () => gate.nextMs() };
    health.fails("reconcile", "not tried yet", this.name);
  }

  async run({ reasons, later }: Pass): Promise<PassScope> {
    const { facts, firewall, gate, metrics, log } = this.#parts;
    const wanted = facts.of(PEER_ADDRESSES).value;
    if (wanted === undefined) return;
    const isPart = reasons.every((reason) => reason === PEER_ADDRESSES.name);
    if (isPart && this.#isGood && (await this.#change(wanted))) return "part";
    const isKept = this.#kept === wanted;
    const changed = isKept ? await firewall.restore() : await this.#follow(wanted);
    this.#kept = wanted;
    if (changed.length > 0) {
      metrics.changes.inc({ request: "NFT_MSG_NEWTABLE" });
      if (isKept) log.info({ restored: changed }, "rules removed by another program restored");
      else log.info({ reasons, changes: changed.length, rules: changed }, "this node's rules changed");
    }
    const { forwardDueInMs } = firewall;
    if (forwardDueInMs !== undefined) later("other programs' chains", forwardDueInMs);
    gate.assertNothingRests();
  }

  /** A pass that has postponed other programs' chains does not report them as right. */
  succeeded(): void {
    const { health, firewall } = this.#parts;
    this.#isGood = true;
    if (this.#kept !== undefined && firewall.forwardDueInMs === undefined) health.holds("reconcile", "", this.name);
  }

  failed(error: unknown, retryMs: number): void {
    const { health, log } = this.#parts;
    this.#isGood = false;
    health.fails("reconcile", error instanceof Error ? error.message : String(error), this.name);
    log.error({ err: error, retryMs: Math.round(retryMs) }, "this node's rules are not programmed");
  }

  /**
   * Programs the rules. Publishes the fact even after a failure, so that `peers` continues: a node without these rules
   * is better than one without peers.
   */
  async #follow(wanted: PeerAddresses): Promise<readonly string[]> {
    const { firewall, facts } = this.#parts;
    try {
      return await firewall.keep({ table: this.#rulesOf(wanted), ranges: podRanges(wanted.choice) });
    } finally {
      facts.of(FIREWALLED).publish(wanted);
    }
  }

  /** Changes only elements, without reading the table. False if this is not possible; then nothing has changed. */
  async #change(wanted: PeerAddresses): Promise<boolean> {
    const { firewall, facts, metrics, log } = this.#parts;
    const { change } = wanted;
    if (change === undefined || change.since !== this.#kept?.senders) return false;
    const requests = await firewall.change((table) => changeAddresses(table, change)).catch(() => undefined);
    if (requests === undefined) return false;
    this.#kept = wanted;
    facts.of(FIREWALLED).publish(wanted);
    for (const { identifier } of requests) metrics.changes.inc({ request: identifier });
    log.debug({ requests: requests.map(({ text }) => text) }, "elements of this node's rules changed");
    return true;
  }

  #rulesOf({ choice: { networks, tunnels }, unmasqueraded, senders }: PeerAddresses): Table {
    const { nonMasqueradeCidrs, vxlanFrom, outsideHosts } = this.#parts.options;
    return nodeRules({
      ...{ podRanges: networks, exempt: unmasqueraded, nonMasquerade: nonMasqueradeCidrs, outsideHosts },
      ...{ tunnels: vxlanFrom === "nodes" ? tunnels : [], senders },
    });
  }
}
