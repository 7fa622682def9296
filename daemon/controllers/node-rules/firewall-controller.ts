/**
 * Maintains the node's nftables: our own table, and rules in other programs' forward chains. Other programs commit all
 * the time, so a commit triggers a check of our own table only, apart from all other comparisons.
 */
import type { Table } from "../../../pkg/nft/table.ts";
import type { RepairGate } from "../../../pkg/reconcile/repair-gate.ts";
import { nodeRules } from "../../../pkg/tables/node-rules.ts";
import type { Pass, Runnable, Subscriptions } from "../../core/controller.ts";
import type { Health } from "../../core/health.ts";
import type { Logger } from "../../core/log.ts";
import type { Metrics } from "../../core/metrics.ts";
import type { Facts } from "../../core/topic.ts";
import type { Options } from "../../options.ts";
import { FIREWALLED, NODE_CHOICE, type NodeChoice } from "../facts.ts";
import type { Firewall } from "./firewall.ts";
import { podRanges } from "./ranges.ts";

export interface FirewallControllerParts {
  readonly options: Pick<Options, "nonMasqueradeCidrs" | "vxlanFrom" | "outsideHosts">;
  readonly facts: Facts;
  readonly firewall: Pick<Firewall, "keep" | "restore" | "delayMs" | "forwardDueInMs">;
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
  /** The choice that was programmed last. */
  #kept: NodeChoice | undefined;

  constructor(parts: FirewallControllerParts) {
    const { facts, firewall, gate, health } = parts;
    this.#parts = parts;
    this.subscriptions = {
      topics: [facts.of(NODE_CHOICE)],
      onRuleset: () => ({ delayMs: firewall.delayMs }),
      intervalMs: FULL_COMPARISON_MS,
    };
    this.retry = { promisingMs: () => gate.nextMs() };
    health.fails("reconcile", "not tried yet", this.name);
  }

  async run({ reasons, later }: Pass): Promise<void> {
    const { facts, firewall, gate, metrics, log } = this.#parts;
    const choice = facts.of(NODE_CHOICE).value;
    if (choice === undefined) return;
    const isKept = this.#kept === choice;
    const changed = isKept ? await firewall.restore() : await this.#follow(choice);
    this.#kept = choice;
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
    if (this.#kept !== undefined && firewall.forwardDueInMs === undefined) health.holds("reconcile", "", this.name);
  }

  failed(error: unknown, retryMs: number): void {
    const { health, log } = this.#parts;
    health.fails("reconcile", error instanceof Error ? error.message : String(error), this.name);
    log.error({ err: error, retryMs: Math.round(retryMs) }, "this node's rules are not programmed");
  }

  /**
   * Programs the rules. Publishes the fact even after a failure, so that `peers` continues: a node without these rules
   * is better than one without peers.
   */
  async #follow(choice: NodeChoice): Promise<readonly string[]> {
    const { firewall, facts } = this.#parts;
    try {
      return await firewall.keep({ table: this.#rulesOf(choice), ranges: podRanges(choice) });
    } finally {
      facts.of(FIREWALLED).publish(choice);
    }
  }

  #rulesOf({ networks, unmasqueraded, tunnels, senders }: NodeChoice): Table {
    const { nonMasqueradeCidrs, vxlanFrom, outsideHosts } = this.#parts.options;
    return nodeRules({
      ...{ podRanges: networks, exempt: unmasqueraded, nonMasquerade: nonMasqueradeCidrs, outsideHosts },
      ...{ tunnels: vxlanFrom === "nodes" ? tunnels : [], senders },
    });
  }
}
