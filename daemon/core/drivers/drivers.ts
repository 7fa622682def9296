/** Carries out the steps of plans, each by the driver of its kind. A step that fails keeps none of the others from being done. */
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
  /** Steps that have changed something, in order. */
  readonly done: readonly PlanStep[];
  readonly failures: readonly StepFailure[];
  /** Repairs that the gate holds back: another program keeps undoing them. */
  readonly resting: readonly PlanStep[];
}

/** Sends to the kernel. */
export interface KernelDriver {
  /** Sends rtnetlink requests in order; returns refusals. What was to be removed and is gone counts as removed. */
  send(requests: readonly Request[]): Promise<readonly NetlinkError[]>;
  /** One nftables transaction. Throws `NetlinkError`. */
  commit(requests: readonly Request[]): Promise<unknown>;
}

export interface DriversParts {
  readonly kernel: KernelDriver;
  /** For settings: where /proc/sys is found. */
  readonly settings: Files;
  readonly processes: Pick<ProcessDriver, "keep">;
}

/** For one pass of a controller. */
export interface PlanOwner {
  /** The controller's name. */
  readonly name: string;
  /** Asked before a repair. */
  mayPutBack(step: PlanStep): boolean;
  /** The kernel refused a change of `object`. */
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
   * Carries out `steps` in order. With `isComplete` they are a whole plan: processes that `owner` wanted before and that are
   * not among them end.
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

  /** Neighbouring requests go together: a large cluster has thousands of them. */
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

  /** True when something was changed. */
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
        // Requests are sent together; processes follow when all files are written.
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

/** The requests from `at` on, up to the first step of another kind. */
function requestsFrom(steps: readonly PlanStep[], at: number): readonly RequestStep[] {
  const requests: RequestStep[] = [];
  for (let next = at; ; next++) {
    const step = steps[next];
    if (step?.kind !== "request") return requests;
    requests.push(step);
  }
}
