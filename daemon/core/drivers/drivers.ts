/**
 * Carries out the steps of plans, each with the driver of its kind. If a step fails, the others are still carried out.
 */
import type { NetlinkError } from "../../../pkg/netlink/errors.ts";
import type { ObjectIdentity, Request } from "../../../pkg/netlink/message.ts";
import type { PlanStep, ProcessStep, RequestStep } from "../../../pkg/reconcile/plan-step.ts";
import type { Files } from "../../../pkg/sys/system.ts";
import { FileDriver } from "./files.ts";
import type { ProcessDriver } from "./processes.ts";
import { ensureSetting } from "./settings.ts";

export interface StepFailure {
  readonly step: PlanStep;
  /** A `NetlinkError` for a request that the kernel refused. */
  readonly error: unknown;
}

export interface StepOutcome {
  /** The steps that changed something, in order. */
  readonly done: readonly PlanStep[];
  readonly failures: readonly StepFailure[];
  /** Repairs that the gate holds back because another program keeps undoing them. */
  readonly resting: readonly PlanStep[];
}

/** Sends requests to the kernel. */
export interface KernelDriver {
  /**
   * Sends rtnetlink requests in order and returns the refusals. A deletion of an object that is gone counts as done.
   */
  send(requests: readonly Request[]): Promise<readonly NetlinkError[]>;
  /** Commits one nftables transaction. Throws `NetlinkError`. */
  commit(requests: readonly Request[]): Promise<unknown>;
}

export interface DriversParts {
  readonly kernel: KernelDriver;
  /** Files for settings, with the location of /proc/sys. */
  readonly settings: Files;
  readonly processes: Pick<ProcessDriver, "keep">;
}

/** The controller on whose behalf a plan is carried out, for one pass. */
export interface PlanOwner {
  /** The controller's name. */
  readonly name: string;
  /** Called before a repair. If it returns false, the step is not carried out. */
  mayPutBack(step: PlanStep): boolean;
  /** Called when the kernel refused a change of `object`. */
  refused(object: ObjectIdentity): void;
}

interface Result {
  readonly done: PlanStep[];
  readonly failures: StepFailure[];
  readonly resting: PlanStep[];
}

export class Drivers {
  readonly #parts: DriversParts;
  readonly #files = new FileDriver();

  constructor(parts: DriversParts) {
    this.#parts = parts;
  }

  /**
   * Carries out `steps` in order. With `isComplete`, they are the complete plan: `owner`'s processes that are not among
   * them are stopped.
   */
  async apply(owner: PlanOwner, steps: readonly PlanStep[], isComplete: boolean): Promise<StepOutcome> {
    const result: Result = { done: [], failures: [], resting: [] };
    const allowed = steps.filter((step) => mayDo(step, owner, result.resting));
    for (let at = 0; at < allowed.length; ) {
      const requests = requestsFrom(allowed, at);
      if (requests.length > 0) await this.#send(requests, owner, result);
      else await this.#one(allowed[at] as PlanStep, result);
      at += Math.max(1, requests.length);
    }
    await this.#keepProcesses(owner.name, allowed, isComplete, result);
    return result;
  }

  /** Sends neighbouring requests together, because a large cluster has thousands of them. */
  async #send(steps: readonly RequestStep[], owner: PlanOwner, result: Result): Promise<void> {
    const errors = new Map<NetlinkError["request"], NetlinkError>();
    try {
      const refusals = await this.#parts.kernel.send(steps.map(({ request }) => request));
      for (const refusal of refusals) errors.set(refusal.request, refusal);
    } catch (error) {
      for (const step of steps.slice(0, 1)) result.failures.push({ step, error });
      return;
    }
    for (const step of steps) {
      const error = errors.get(step.request);
      if (error !== undefined) owner.refused(step.object);
      if (error === undefined) result.done.push(step);
      else result.failures.push({ step, error });
    }
  }

  async #one(step: PlanStep, { done, failures }: Result): Promise<void> {
    try {
      if (await this.#carryOut(step)) done.push(step);
    } catch (error) {
      failures.push({ step, error });
    }
  }

  /** True if something was changed. */
  async #carryOut(step: PlanStep): Promise<boolean> {
    switch (step.kind) {
      case "transaction":
        await this.#parts.kernel.commit(step.requests);
        return true;
      case "setting":
        return ensureSetting(this.#parts.settings, step) !== undefined;
      case "file":
        return this.#files.apply(step);
      default:
        // Requests are sent together; processes follow after all files are written.
        return false;
    }
  }

  async #keepProcesses(owner: string, steps: readonly PlanStep[], isComplete: boolean, result: Result): Promise<void> {
    const wanted = steps.filter((step): step is ProcessStep => step.kind === "process");
    const changedFiles = new Set(result.done.flatMap((step) => (step.kind === "file" ? [step.path] : [])));
    const { done, failures } = await this.#parts.processes.keep(owner, wanted, { changedFiles, isComplete });
    result.done.push(...done);
    result.failures.push(...failures);
  }
}

function mayDo(step: PlanStep, owner: PlanOwner, resting: PlanStep[]): boolean {
  if (step.isRepair !== true || owner.mayPutBack(step)) return true;
  resting.push(step);
  return false;
}

/** Returns the requests from `at` on, up to the first step of another kind. */
function requestsFrom(steps: readonly PlanStep[], at: number): readonly RequestStep[] {
  const requests: RequestStep[] = [];
  for (let next = at; ; next++) {
    const step = steps[next];
    if (step?.kind !== "request") return requests;
    requests.push(step);
  }
}
