/**
 * The contract of a controller. A controller compares one concern of this node with its desired state, pass after pass.
 * It declares its triggers, the desired state, the observed state, and the steps between the two. The core runs it: it
 * joins bursts of triggers, backs off after failures, shares the kernel's dumps, and shows the controller's state.
 */
import type { Message } from "../../pkg/netlink/message.ts";
import type { TablePlace } from "../../pkg/nft/ruleset.ts";
import type { PlanStep, StepPlan } from "../../pkg/reconcile/plan-step.ts";
import type { StepOutcome } from "./drivers/drivers.ts";
import type { LoopOptions, PassRequest, PassScope } from "./loop.ts";
import type { KernelView } from "./shared-kernel.ts";
import type { Subscribable } from "./topic.ts";

/** Why a kernel notification calls for a pass. */
export interface Trigger {
  /** Appears in the log. */
  readonly reason: string;
  /**
   * True if the notification may be the effect of a pass of weftd. It then does not hurry the retry of a failed pass.
   */
  readonly isPatient: boolean;
}

/** What triggers a pass of a controller. */
export interface Subscriptions {
  /** Topics (sources and facts) whose changes trigger a pass. */
  readonly topics?: readonly Subscribable[];
  /** Called with each rtnetlink notification. Returns undefined if it does not concern this controller. */
  readonly reasonFor?: (message: Message) => Trigger | undefined;
  /**
   * Called after another program has committed to nftables. Returns when the next pass must begin. If absent, commits
   * trigger no pass.
   */
  readonly onRuleset?: () => PassRequest;
  /**
   * A table that only this controller writes. `onChange` is called when another program has changed something in it, or
   * may have; it returns when the next pass must begin. Commits to other tables cost nothing.
   */
  readonly ownTable?: { readonly place: TablePlace; readonly onChange: () => PassRequest };
  /**
   * The time from a successful pass to the next one if nothing else triggers a pass, in milliseconds. If absent, no
   * pass follows.
   */
  readonly intervalMs?: number;
  /** True if a pass begins when weftd starts. [false] */
  readonly atStart?: boolean;
}

/** One pass. */
export interface Pass {
  /** The triggers of the pass, for the log. */
  readonly reasons: readonly string[];
  readonly kernel: KernelView;
  /**
   * Requests another pass of the same controller after `delayMs`. Notifications caused by a failed pass do not hurry
   * it.
   */
  later(reason: string, delayMs: number): void;
}

/**
 * The interface that the runner needs. `Controller` is the contract above it; `controllerPass` makes the pass of a
 * controller.
 */
export interface Runnable {
  /** Unique. Appears in /readyz, /debug/state and metrics. */
  readonly name: string;
  readonly subscriptions: Subscriptions;
  /** How a failed pass is retried. */
  readonly retry?: Partial<Pick<LoopOptions, "backoff" | "promisingMs" | "pauseMs" | "patienceMs">>;
  /**
   * Compares and changes. Rejects with the failures, after everything that does not depend on them is done. Resolves
   * with "part" if it has done only the work of the pass's reasons.
   */
  run(pass: Pass): Promise<PassScope>;
  /** Called when a pass ended without a failure. Must not throw. */
  succeeded?(): void;
  /** Called when a pass failed. The next one begins within `retryMs`. Must not throw. */
  failed?(error: unknown, retryMs: number): void;
  /**
   * Returns what /debug/state shows besides the controller's state. Its keys must differ from those of other
   * controllers.
   */
  debug?(kernel: KernelView): Promise<Readonly<Record<string, unknown>>>;
  /**
   * Pages under /debug/NAME, by name, for data that is too large for /debug/state. Each page yields JSON in pieces of
   * some milliseconds of work; passes may run between two pieces.
   */
  readonly pages?: { readonly [name: string]: (query: URLSearchParams) => Iterable<string> };
  /** Pages that wait for the kernel's answer. Names must differ from those of `pages`. */
  readonly asyncPages?: { readonly [name: string]: (query: URLSearchParams) => AsyncIterable<string> };
  /** Stops the controller: no pass begins after this call. Resolves when all work of the controller has ended. */
  stop?(): void | Promise<void>;
}

/** Carries out steps that are no repairs. */
export type Apply = (steps: readonly PlanStep[]) => Promise<StepOutcome>;

/** `D` is the desired state, `O` the observed state. */
export interface Controller<D, O> extends Omit<Runnable, "run"> {
  /**
   * Does only the work of the pass's reasons, without a comparison. Resolves false if a comparison must follow; it does
   * in the same pass.
   */
  change?(pass: Pass, apply: Apply): Promise<boolean>;
  /** Returns the desired state. Undefined while it is unknown: then nothing is compared and nothing changes. */
  desired(pass: Pass): D | undefined | Promise<D | undefined>;
  /** Work that must precede the first step. If it fails, the pass fails, but its steps are still carried out. */
  prepare?(desired: D): void | Promise<void>;
  /**
   * Reads the state that `plan` compares. `kernel` shares its dumps among all controllers that run at the same time.
   */
  observe(kernel: KernelView, desired: D): O | Promise<O>;
  /** Returns the steps from the observed to the desired state. Pure. */
  plan(desired: D, observed: O): StepPlan;
  /** Returns the failures that fail the pass. [all; the kernel's refusals as one `RefusedError`] */
  errorsOf?(outcome: PlanOutcome<D, O>): readonly unknown[];
  /**
   * Called after the steps of the last plan were carried out, with their `outcome`. Publishes facts and reports. An
   * error thrown here fails the pass, as a failed step does.
   */
  settled?(pass: Pass, outcome: PlanOutcome<D, O>): void | Promise<void>;
}

export interface PlanOutcome<D, O> extends StepOutcome {
  readonly desired: D;
  /** The state from which the last plan started. */
  readonly observed: O;
  /** The conflicts of the last plan. */
  readonly conflicts: readonly string[];
  /** False if an object that the next round needs was not made. The reason is among the failures. */
  readonly isComplete: boolean;
}
