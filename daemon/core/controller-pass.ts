/**
 * One pass of a controller: computes the desired state, observes the actual one, carries out the steps between them,
 * and reports the outcome.
 */
import { NetlinkError } from "../../pkg/netlink/errors.ts";
import type { PlanStep } from "../../pkg/reconcile/plan-step.ts";
import { type Gate, repairOf } from "../../pkg/reconcile/repair-gate.ts";
import { Attempts } from "./attempts.ts";
import type { Controller, Pass, PlanOutcome, Runnable } from "./controller.ts";
import type { Drivers, StepFailure } from "./drivers/drivers.ts";
import { RefusedError } from "./drivers/programmer.ts";
import type { KernelView, Observation } from "./shared-kernel.ts";

/**
 * A device made in one round is programmed in the next. The third round covers a race with a program that removes the
 * device.
 */
const ROUNDS = 3;

export interface ControllerCore {
  readonly drivers: Pick<Drivers, "apply">;
  /** The gate of this controller alone. A pass checks once whether repairs are waiting for their back-off. */
  readonly gate: Gate & { nextMs?(): number | undefined };
}

/**
 * Wraps a controller as a `Runnable` that compares and changes once a pass. A repair that backs off is retried when its
 * back-off ends.
 */
export function runnable<D, O>(controller: Controller<D, O>, core: ControllerCore): Runnable {
  const { name, subscriptions } = controller;
  return {
    ...{ name, subscriptions },
    retry: { promisingMs: () => core.gate.nextMs?.(), ...controller.retry },
    run: async (pass) => ((await hasChanged(controller, core, pass)) ? "part" : runPass(controller, core, pass)),
    succeeded: () => controller.succeeded?.(),
    ...(controller.failed && { failed: (error, retryMs) => controller.failed?.(error, retryMs) }),
    ...(controller.debug && { debug: controller.debug.bind(controller) }),
    stop: () => controller.stop?.(),
  };
}

async function hasChanged<D, O>(
  controller: Controller<D, O>,
  { drivers, gate }: ControllerCore,
  pass: Pass,
): Promise<boolean> {
  const owner = { name: controller.name, mayPutBack: () => true, refused: gate.refused.bind(gate) };
  return (await controller.change?.(pass, (steps) => drivers.apply(owner, steps, false))) ?? false;
}

async function runPass<D, O>(
  controller: Controller<D, O>,
  { drivers, gate }: ControllerCore,
  begun: Pass,
): Promise<void> {
  const kernel = new RoundView(begun.kernel);
  const pass = { ...begun, kernel };
  const desired = await controller.desired(pass);
  if (desired === undefined) return;
  const attempts = new Attempts();
  await attempts.try(() => controller.prepare?.(desired));
  // Other programs may have changed the kernel during `prepare`, which may even have waited for such a change.
  if (controller.prepare !== undefined) kernel.next();
  const outcome = await attempts.try(() => converge(controller, desired, { drivers, gate }, kernel));
  if (outcome !== undefined) {
    const errors = controller.errorsOf?.(outcome) ?? errorsOf(outcome.failures);
    for (const error of errors) await attempts.try(() => Promise.reject(error));
    await attempts.try(() => controller.settled?.(pass, outcome));
  }
  await attempts.try(() => gate.assertNothingRests());
  attempts.end();
}

async function converge<D, O>(
  controller: Controller<D, O>,
  desired: D,
  { drivers, gate }: ControllerCore,
  kernel: RoundView,
): Promise<PlanOutcome<D, O>> {
  const owner = { name: controller.name, mayPutBack: repairOf(gate), refused: gate.refused.bind(gate) };
  const done: PlanStep[] = [];
  for (let round = 1; ; round++) {
    const observed = await controller.observe(kernel, desired);
    const { steps, isComplete = true, conflicts = [] } = controller.plan(desired, observed);
    const outcome = await drivers.apply(owner, steps, isComplete);
    done.push(...outcome.done);
    const { resting } = outcome;
    const failures: StepFailure[] = [...outcome.failures];
    const isHeldUp = failures.length > 0 || resting.length > 0;
    // A failed or waiting step may be independent of what was made. If it is not, it fails again in the next round.
    const isStuck = (isHeldUp && outcome.done.length === 0) || round === ROUNDS;
    kernel.next();
    if (!isComplete && !isStuck) continue;
    const first = steps[0];
    if (!isComplete && !isHeldUp && first !== undefined)
      failures.push({ step: first, error: new VanishingError(steps) });
    return { desired, observed, isComplete, conflicts, done, failures, resting };
  }
}

/** One snapshot per round, so that a plan is compared with the snapshot from which it was made. */
class RoundView implements KernelView {
  readonly #kernel: KernelView;
  #snapshot: Promise<Observation> | undefined;

  constructor(kernel: KernelView) {
    this.#kernel = kernel;
  }

  snapshot(): Promise<Observation> {
    this.#snapshot ??= this.#kernel.snapshot();
    return this.#snapshot;
  }

  next(): void {
    this.#snapshot = undefined;
  }
}

class VanishingError extends Error {
  constructor(steps: readonly PlanStep[]) {
    const texts = steps.map(({ text }) => text).join("; ");
    super(`${texts}: the object vanishes as soon as it is made; another program removes it`);
    this.name = "VanishingError";
  }
}

/** Returns the kernel's refusals as one error, and every other failure as it is. */
export function errorsOf(failures: readonly StepFailure[]): readonly unknown[] {
  const refusals = failures.flatMap(({ error }) => (error instanceof NetlinkError ? [error] : []));
  const others = failures.flatMap(({ error }) => (error instanceof NetlinkError ? [] : [error]));
  return [...(refusals.length > 0 ? [new RefusedError(refusals)] : []), ...others];
}
