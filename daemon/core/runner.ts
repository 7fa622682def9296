/** Runs controllers. Each has its own loop, so one that fails or hangs does not delay the others. */
import type { Clock } from "../../pkg/cluster/clock.ts";
import type { Message } from "../../pkg/netlink/message.ts";
import { type TablePlace, tablePlaceText } from "../../pkg/nft/ruleset.ts";
import type { Runnable } from "./controller.ts";
import { type ControllerReport, ControllerState } from "./controller-state.ts";
import type { Logger } from "./log.ts";
import { Loop, type LoopOptions } from "./loop.ts";
import type { Metrics } from "./metrics.ts";
import type { KernelView } from "./shared-kernel.ts";

/** Related changes arrive within milliseconds: a link that comes up brings addresses and routes. */
const NOTIFICATION_DELAY_MS = 10;

/** Notifications about the effects of a failed pass arrive within milliseconds. */
const PATIENCE_MS = 50;

const BACKOFF: LoopOptions["backoff"] = { initialMs: 100, maxMs: 10_000 };

/** The time that a running pass has to end when weftd stops. main.ts ends the process after ten seconds. */
const STOP_LIMIT_MS = 5000;

export interface RunnerParts {
  readonly clock: Clock;
  readonly kernel: KernelView;
  readonly metrics: Pick<Metrics, "controllerPasses" | "controllerPassSeconds">;
  readonly log: Logger;
  /** Called when a pass of a controller has ended, successfully or not. */
  readonly onPassEnd?: () => void;
}

interface Running {
  readonly controller: Runnable;
  readonly state: ControllerState;
  readonly loop: Loop;
  readonly unsubscribe: readonly (() => void)[];
}

export class Runner {
  readonly #parts: RunnerParts;
  readonly #running: Running[] = [];

  constructor(parts: RunnerParts) {
    this.#parts = parts;
  }

  /** Starts a controller. Names must be unique. */
  start(controller: Runnable): void {
    const { name, subscriptions } = controller;
    if (this.#running.some((one) => one.controller.name === name)) throw new Error(`two controllers are named ${name}`);
    const state = new ControllerState(name, this.#parts.clock);
    const loop = this.#loop(controller, state);
    const topics = subscriptions.topics ?? [];
    const unsubscribe = topics.map((topic) => topic.subscribe((request) => loop.ask(topic.name, request)));
    this.#running.push({ controller, state, loop, unsubscribe });
    if (subscriptions.atStart === true) loop.ask("start");
  }

  /** Passes a kernel notification to the controllers. */
  notified(message: Message): void {
    for (const { controller, loop } of this.#running) {
      const trigger = controller.subscriptions.reasonFor?.(message);
      if (trigger !== undefined)
        loop.ask(trigger.reason, { delayMs: NOTIFICATION_DELAY_MS, isPatient: trigger.isPatient });
    }
  }

  /** A notification was unreadable. It may be about any object, so a pass reads the tables themselves. */
  notifiedUnreadable(): void {
    this.#askNotified("unreadable notification", { delayMs: NOTIFICATION_DELAY_MS, isPatient: true });
  }

  /** Notifications were lost: any object may have changed. */
  overrun(): void {
    this.#askNotified("notifications were lost", {});
  }

  /** Another program has committed to nftables, or may have. */
  rulesetChanged(reason = "generation"): void {
    for (const { controller, loop } of this.#running) {
      const request = controller.subscriptions.onRuleset?.();
      if (request !== undefined) loop.ask(reason, request);
    }
  }

  /** Returns the tables that only one controller writes. */
  ownTables(): readonly TablePlace[] {
    return this.#running.flatMap(({ controller }) => controller.subscriptions.ownTable?.place ?? []);
  }

  /** Another program has changed something in a table of `ownTables`, or may have. */
  tableChanged(table: TablePlace): void {
    for (const { controller, loop } of this.#running) {
      const { ownTable } = controller.subscriptions;
      if (ownTable !== undefined && tablePlaceText(ownTable.place) === tablePlaceText(table))
        loop.ask(`table ${tablePlaceText(table)}`, ownTable.onChange());
    }
  }

  reports(): readonly ControllerReport[] {
    return this.#running.map(({ state }) => state.report());
  }

  /**
   * Returns the answer of /debug/state: what each controller shows, or its error, and the states of all controllers.
   */
  async debugState(): Promise<Readonly<Record<string, unknown>>> {
    const { kernel } = this.#parts;
    const show = async (controller: Runnable) => {
      try {
        return (await controller.debug?.(kernel)) ?? {};
      } catch (error) {
        return { [controller.name]: { error: error instanceof Error ? error.message : String(error) } };
      }
    };
    const shown = await Promise.all(this.#running.map(({ controller }) => show(controller)));
    return { ...Object.assign({}, ...shown), controllers: this.reports() };
  }

  /** Returns the answer of /debug/NAME to `query`; undefined if no controller has such a page. */
  debugPage(name: string, query: URLSearchParams): Iterable<string> | AsyncIterable<string> | undefined {
    for (const { controller } of this.#running) {
      const page = own(controller.pages, name) ?? own(controller.asyncPages, name);
      if (page !== undefined) return page(query);
    }
    return undefined;
  }

  /** Lets no further pass begin. Resolves when the running passes have ended; waits some seconds at most. */
  async stop(): Promise<void> {
    for (const { unsubscribe } of this.#running) for (const end of unsubscribe) end();
    await Promise.all(this.#running.map((one) => this.#end(one)));
  }

  async #end({ controller, loop }: Running): Promise<void> {
    const { clock, log } = this.#parts;
    let cancel: () => void = () => undefined;
    const limit = new Promise<boolean>((resolve) => {
      cancel = clock.setTimer(STOP_LIMIT_MS, () => resolve(false));
    });
    const { name } = controller;
    const stopped = (async () => controller.stop?.())().catch((error) =>
      log.warn({ controller: name, err: error }, "a controller failed to stop; stopping without it"),
    );
    const ending = Promise.all([loop.stop(), stopped]);
    const isOver = await Promise.race([ending.then(() => true), limit]);
    cancel();
    if (!isOver) log.warn({ controller: name }, "a pass does not end; stopping without waiting for it");
  }

  #askNotified(reason: string, request: Parameters<Loop["ask"]>[1]): void {
    for (const { controller, loop } of this.#running)
      if (controller.subscriptions.reasonFor !== undefined) loop.ask(reason, request);
  }

  #loop(controller: Runnable, state: ControllerState): Loop {
    const { clock, kernel, metrics, log, onPassEnd } = this.#parts;
    const { name, subscriptions, retry } = controller;
    const later = (reason: string, delayMs: number) => loop.ask(reason, { delayMs, isPatient: true });
    for (const result of ["success", "failure"]) metrics.controllerPasses.inc({ controller: name, result }, 0);
    const pass = async (reasons: readonly string[]) => {
      let result: "success" | "failure" = "failure";
      state.begins(reasons);
      try {
        const scope = await controller.run({ reasons, kernel, later });
        result = "success";
        controller.succeeded?.();
        return scope;
      } finally {
        metrics.controllerPassSeconds.observe({ controller: name }, state.ends(result) / 1000);
        metrics.controllerPasses.inc({ controller: name, result });
        onPassEnd?.();
      }
    };
    const onFailure = (error: unknown, retryMs: number) => {
      state.failed(error, retryMs);
      if (controller.failed !== undefined) controller.failed(error, retryMs);
      else log.warn({ controller: name, err: error, retryMs: Math.round(retryMs) }, "pass of a controller failed");
    };
    const { intervalMs } = subscriptions;
    const loop = new Loop({
      ...{ clock, backoff: BACKOFF, patienceMs: PATIENCE_MS },
      ...retry,
      ...(intervalMs !== undefined && { intervalMs }),
      ...{ pass, onFailure },
    });
    return loop;
  }
}

/** A name of a query must not find what all objects have, such as `constructor`. */
function own<T>(pages: { readonly [name: string]: T } | undefined, name: string): T | undefined {
  return pages !== undefined && Object.hasOwn(pages, name) ? pages[name] : undefined;
}
