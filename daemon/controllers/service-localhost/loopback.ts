/**
 * Makes NodePorts reachable on 127.0.0.1: first programs the guard that drops packets from other hosts to the node's
 * loopback addresses, then the setting that lets loopback connections leave for pods (route_localnet). It sets
 * route_localnet for all devices, because endpoints may be reached through any device (each pod of `ptp` has one), and
 * the guard covers all devices.
 *
 * The setting is never on without the guard. If another program has removed the guard, weftd switches the setting off,
 * restores the guard, and switches the setting on again. If the guard cannot be restored, the setting stays off.
 */
import { readSysctl, sysctlPath } from "../../../pkg/kernel/sysctl.ts";
import type { EventedNetlink } from "../../../pkg/netlink/evented.ts";
import type { Request } from "../../../pkg/netlink/message.ts";
import { NFPROTO, NFT_MSG_NEWTABLE } from "../../../pkg/netlink/nftables.ts";
import { changeTable } from "../../../pkg/nft/change.ts";
import { tableQuestions } from "../../../pkg/nft/comparison.ts";
import { tableObject } from "../../../pkg/nft/object.ts";
import { removeTable, tableText } from "../../../pkg/nft/table.ts";
import { type StepPlan, settingStep, transactionStep } from "../../../pkg/reconcile/plan-step.ts";
import type { Files } from "../../../pkg/sys/system.ts";
import { LOCALHOST_GUARD, ROUTE_LOCALNET } from "../../../pkg/tables/loopback-guard.ts";
import type { Controller, Pass, PlanOutcome, Subscriptions } from "../../core/controller.ts";
import { readRuleset } from "../../core/drivers/ruleset.ts";
import type { SettingWatch } from "../../core/drivers/setting-watch.ts";
import type { Health } from "../../core/health.ts";
import type { Logger } from "../../core/log.ts";
import type { Facts, Subscribable } from "../../core/topic.ts";
import { LOOPBACK_GUARDED, PROXY_TURN } from "../facts.ts";

export interface LoopbackParts {
  /** True if NodePorts must be served on localhost. */
  readonly isWanted: boolean;
  readonly facts: Facts;
  readonly nftables: Pick<EventedNetlink, "dump" | "exchange">;
  readonly files: Files;
  readonly settingWatch: Pick<SettingWatch, "follow">;
  /** Notified when another program has written the setting. */
  readonly settingChange: Subscribable;
  readonly health: Pick<Health, "warns">;
  readonly log: Logger;
}

export interface SeenLoopback {
  /** The requests for the missing parts of the guard. */
  readonly missing: readonly Request[];
  /** True if a guard of weftd's exists, complete or not. */
  readonly isThere: boolean;
  readonly isOpen: boolean;
}

const GUARD = tableObject(tableText(LOCALHOST_GUARD));
const FULL_COMPARISON_MS = 60_000;

export class LoopbackController implements Controller<boolean, SeenLoopback> {
  readonly name = "service-loopback";
  readonly subscriptions: Subscriptions;
  readonly #parts: LoopbackParts;
  /**
   * True once the guard was complete and the setting was on. A later difference means that another program changed it.
   */
  #isSettled = false;

  constructor(parts: LoopbackParts) {
    this.#parts = parts;
    this.subscriptions = {
      topics: [parts.facts.of(PROXY_TURN), parts.settingChange],
      ownTable: {
        place: { family: NFPROTO.inet, table: LOCALHOST_GUARD.name },
        onChange: () => ({ isPatient: true }),
      },
      intervalMs: FULL_COMPARISON_MS,
      atStart: true,
    };
  }

  desired(): boolean | undefined {
    const { isWanted, facts } = this.#parts;
    // While another program serves Services, the setting stays off.
    return isWanted && facts.of(PROXY_TURN).value?.isOurs !== true ? undefined : isWanted;
  }

  async observe(): Promise<SeenLoopback> {
    const { nftables, files } = this.#parts;
    const held = await readRuleset(nftables, tableQuestions(LOCALHOST_GUARD));
    return {
      missing: changeTable(LOCALHOST_GUARD, held),
      isThere: held.some(({ type }) => type === NFT_MSG_NEWTABLE.type),
      isOpen: readSysctl(files, ROUTE_LOCALNET) === "1",
    };
  }

  plan(isWanted: boolean, { missing, isThere, isOpen }: SeenLoopback): StepPlan {
    const close = isOpen ? [settingStep(ROUTE_LOCALNET, "0")] : [];
    // Settings have no owner. The guard's existence shows that weftd has switched this one on.
    if (!isWanted && !isThere) return { steps: [] };
    if (!isWanted && isOpen) return { steps: close, isComplete: false };
    if (!isWanted) return { steps: [transactionStep(GUARD, removeTable(LOCALHOST_GUARD))] };
    if (missing.length > 0)
      return { steps: [...close, transactionStep(GUARD, missing, this.#isSettled)], isComplete: false };
    return { steps: isOpen ? [] : [settingStep(ROUTE_LOCALNET, "1", this.#isSettled)] };
  }

  settled({ reasons }: Pass, outcome: PlanOutcome<boolean, SeenLoopback>): void {
    const { facts, settingWatch, health, log } = this.#parts;
    const { desired, done, failures, resting, isComplete } = outcome;
    const isGuarded = desired && isComplete && failures.length === 0 && resting.length === 0;
    if (done.length > 0)
      log.info({ reasons, changes: done.map(({ text }) => text) }, "settings for NodePorts on 127.0.0.1 changed");
    this.#isSettled ||= isGuarded;
    settingWatch.follow(desired ? [sysctlPath(ROUTE_LOCALNET)] : []);
    facts.of(LOOPBACK_GUARDED).publish(isGuarded);
    if (isGuarded) health.warns("NodePorts on 127.0.0.1", []);
  }

  failed(error: unknown, retryMs: number): void {
    const { health, log, isWanted } = this.#parts;
    if (isWanted) health.warns("NodePorts on 127.0.0.1", [error instanceof Error ? error.message : String(error)]);
    log.error({ err: error, retryMs: Math.round(retryMs) }, "NodePorts on 127.0.0.1 are not served");
  }
}
