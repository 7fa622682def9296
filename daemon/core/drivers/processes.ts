/**
 * Child processes of plans: started, restarted with back-off, told to read their configuration again, and stopped when no
 * plan wants them any more or weftd ends. What they print goes to the log, a line at a time.
 */
import type { Clock } from "../../../pkg/cluster/clock.ts";
import type { PlanStep, ProcessStep } from "../../../pkg/reconcile/plan-step.ts";
import type { Logger } from "../log.ts";
import type { StepFailure } from "./drivers.ts";
import { SupervisedProcess } from "./supervised-process.ts";

export interface ProcessDriverParts {
  readonly clock: Clock;
  readonly log: Logger;
  /** A process of `owner` ended by itself, or runs again: what is wrong now, in words; nothing where all is well. */
  readonly onTrouble: (owner: string, name: string, reasons: readonly string[]) => void;
}

export interface KeepOptions {
  /** Paths of files that the same plan has changed. */
  readonly changedFiles: ReadonlySet<string>;
  /** `steps` are all processes that the owner wants: the others end. */
  readonly isComplete: boolean;
}

export interface KeptProcesses {
  /** Processes that were started, replaced or told to reload. */
  readonly done: readonly PlanStep[];
  readonly failures: readonly StepFailure[];
}

export class ProcessDriver {
  readonly #parts: ProcessDriverParts;
  /** By owner and name. */
  readonly #owners = new Map<string, Map<string, SupervisedProcess>>();
  #isStopped = false;
  /** weftd ends by an error, without `stop`: the next one starts processes of its own. */
  readonly #onExit = () => {
    for (const process of this.#all()) process.kill();
  };

  constructor(parts: ProcessDriverParts) {
    this.#parts = parts;
    process.on("exit", this.#onExit);
  }

  /** Has the processes of `steps` run for `owner`. */
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

  /** Ends all processes; none is started any more. */
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
    // A pass that hung goes on after its time.
    if (this.#isStopped) throw new Error(`process ${name} is not started: weftd ends`);
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
