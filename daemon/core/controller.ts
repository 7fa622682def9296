/**
 * The contract of a controller: one concern of this node, compared with what it should be again and again. It says what
 * calls for a pass, what should be, what is, and the steps between the two. The core runs it: joins bursts, backs off after
 * failures, shares the kernel's dumps, and shows its state.
 */
import type { Message } from "../../pkg/netlink/message.ts";
import type { TablePlace } from "../../pkg/nft/ruleset.ts";
import type { StepPlan } from "../../pkg/reconcile/plan-step.ts";
import type { StepOutcome } from "./drivers/drivers.ts";
import type { LoopOptions, PassRequest } from "./loop.ts";
import type { KernelView } from "./shared-kernel.ts";
import type { Subscribable } from "./topic.ts";

/** Why a kernel notification calls for a pass. */
export interface Trigger {
  /** For the log. */
  readonly reason: string;
  /** The kernel may have done it because of what a pass of weftd did: it does not hurry the repetition of a failed pass. */
  readonly isPatient: boolean;
}

/** What calls for a pass of a controller. */
export interface Subscriptions {
  /** Sources and facts. */
  readonly topics?: readonly Subscribable[];
  /** Looks at each rtnetlink notification; undefined where it does not concern this controller. */
  readonly reasonFor?: (message: Message) => Trigger | undefined;
  /** Another program has committed to nftables: when the pass that follows must begin. Left out: never. */
  readonly onRuleset?: () => PassRequest;
  /**
   * A table that this controller alone writes. `onChange`: another program has changed something in it, or may have; the
   * answer says when the pass that follows must begin. Commits to other tables cost nothing.
   */
  readonly ownTable?: { readonly place: TablePlace; readonly onChange: () => PassRequest };
  /** Time from a successful pass to the next when nothing else calls for one, in milliseconds. Left out: none follows. */
  readonly intervalMs?: number;
  /** A pass begins when weftd starts. [false] */
  readonly atStart?: boolean;
}

/** One pass. */
export interface Pass {
  /** What called for it, for the log. */
  readonly reasons: readonly string[];
  readonly kernel: KernelView;
  /** Asks for another pass of the same controller after `delayMs`, which what a failed pass brings about does not hurry. */
  later(reason: string, delayMs: number): void;
}

/** What the runner runs. `Controller` is the contract above it; `controllerPass` makes the pass of one. */
export interface Runnable {
  /** Unique; in /readyz, /debug/state and metrics. */
  readonly name: string;
  readonly subscriptions: Subscriptions;
  /** How a failed pass is repeated. */
  readonly retry?: Partial<Pick<LoopOptions, "backoff" | "promisingMs" | "pauseMs" | "patienceMs">>;
  /** Compares and changes. Rejects with what stood in the way, after all that did not depend on it is done. */
  run(pass: Pass): Promise<void>;
  /** A pass ended without a failure. Must not throw. */
  succeeded?(): void;
  /** A pass failed; the next follows in `retryMs` at the latest. Must not throw. */
  failed?(error: unknown, retryMs: number): void;
  /** What /debug/state shows of it, beside its state: keys of their own. */
  debug?(kernel: KernelView): Promise<Readonly<Record<string, unknown>>>;
  /**
   * What /debug/NAME shows of it, by name: for what is too much for /debug/state. JSON in pieces, each some milliseconds of work:
   * passes may run between two of them.
   */
  readonly pages?: { readonly [name: string]: (query: URLSearchParams) => Iterable<string> };
  /** Gives up what is under way: no pass begins any more. Resolves when nothing of it is left to do. */
  stop?(): void | Promise<void>;
}

/** `D`: what should be; `O`: what is. */
export interface Controller<D, O> extends Omit<Runnable, "run"> {
  /** Undefined while it is not known yet: nothing is compared, so nothing is changed. */
  desired(pass: Pass): D | undefined | Promise<D | undefined>;
  /** What must be done before the first step. Its failure fails the pass, and keeps no step from being done. */
  prepare?(desired: D): void | Promise<void>;
  /** Reads what `plan` compares. `kernel` shares its dumps between all controllers that run at the same time. */
  observe(kernel: KernelView, desired: D): O | Promise<O>;
  /** The steps from what is to what should be. Pure. */
  plan(desired: D, observed: O): StepPlan;
  /** Which failures of steps fail the pass. [all, the kernel's refusals as one `RefusedError`] */
  errorsOf?(outcome: PlanOutcome<D, O>): readonly unknown[];
  /**
   * The steps of the last plan were carried out, as far as `outcome` says: publishes facts, reports. What it throws fails
   * the pass, as each step's failure does.
   */
  settled?(pass: Pass, outcome: PlanOutcome<D, O>): void | Promise<void>;
}

export interface PlanOutcome<D, O> extends StepOutcome {
  readonly desired: D;
  /** What the last plan started from. */
  readonly observed: O;
  /** Of the last plan. */
  readonly conflicts: readonly string[];
  /** False where what had to be made first was not made; the reason is among the failures. */
  readonly isComplete: boolean;
}
