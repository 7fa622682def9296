/**
 * Manages child processes of plans: starts them, restarts them with back-off, makes them reload their configuration,
 * and stops them when no plan contains them any more or weftd ends. Their output is logged line by line.
 */
import type { Clock } from "../../../pkg/cluster/clock.ts";
import type { PlanStep, ProcessStep } from "../../../pkg/reconcile/plan-step.ts";
import type { Logger } from "../log.ts";
import type { StepFailure } from "./drivers.ts";
import { SupervisedProcess } from "./supervised-process.ts";

export interface ProcessDriverParts {
  readonly clock: Clock;
  readonly log: Logger;
  /**
   * Called when a process of `owner` ended by itself, or runs again, with the current faults in words; none if it is
   * well.
   */
  readonly onTrouble: (owner: string, name: string, reasons: readonly string[]) => void;
}

export interface KeepOptions {
  /** Paths of files that the same plan has changed. */
  readonly changedFiles: ReadonlySet<string>;
  /** True if `steps` has all processes of the owner. Other processes are stopped. */
  readonly isComplete: boolean;
}

export interface KeptProcesses {
  /** Processes that were started, replaced or made to reload. */
  readonly done: readonly PlanStep[];
  readonly failures: readonly StepFailure[];
}

export class ProcessDriver {
  readonly #parts: ProcessDriverParts;
  /** By owner and name. */
  readonly #owners = new Map<string, Map<string, SupervisedProcess>>();
  #isStopped = false;
  /** Used if weftd ends by an error, without `stop`. The next weftd starts its own processes. */
  readonly #onExit = () => {
    for (const process of this.#all()) process.kill();
  };

  constructor(parts: ProcessDriverParts) {
    this.#parts = parts;
    process.on("exit", this.#onExit);
  }

  /** Ensures that the processes of `steps` run for `owner`. */
  async keep(owner: string, steps: readonly ProcessStep[], options: KeepOptions): Promise<KeptProcesses> {
    const running = this.#of(owner);
    const names = new Set(steps.map(({ name }) => name));
    const unwanted = options.isComplete ? [...running].filter(([name]) => !names.has(name)) : [];
    for (const [name, process] of unwanted) {
      await process.stop();
      running.delete(name);
      this.#parts.onTrouble(owner, name, []);
    }
    const done: PlanStep[] = [];
    const failures: StepFailure[] = [];
    for (const step of steps) {
      try {
        if (await this.#keepOne(owner, step, options.changedFiles)) done.push(step);
      } catch (error) {
        failures.push({ step, error });
      }
    }
    return { done, failures };
  }

  /** Ends all processes and starts no further ones. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await Promise.all(this.#all().map((process) => process.stop()));
    this.#owners.clear();
    process.off("exit", this.#onExit);
  }

  #all(): readonly SupervisedProcess[] {
    return [...this.#owners.values()].flatMap((running) => [...running.values()]);
  }

  async #keepOne(owner: string, step: ProcessStep, changedFiles: ReadonlySet<string>): Promise<boolean> {
    const running = this.#of(owner);
    const { name } = step;
    const process = running.get(name);
    if (process?.runs(step) === true) return process.reload(step, changedFiles);
    await process?.stop();
    // A pass that hung may continue after `stop`.
    if (this.#isStopped) throw new Error(`process ${name} is not started: weftd is stopping`);
    const started = new SupervisedProcess(step, {
      clock: this.#parts.clock,
      log: this.#parts.log.child({ controller: owner, process: name }),
      onTrouble: (reasons) => this.#parts.onTrouble(owner, name, reasons),
    });
    running.set(name, started);
    await started.start();
    return true;
  }

  #of(owner: string): Map<string, SupervisedProcess> {
    const known = this.#owners.get(owner) ?? new Map<string, SupervisedProcess>();
    this.#owners.set(owner, known);
    return known;
  }
}
