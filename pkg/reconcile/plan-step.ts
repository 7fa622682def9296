/**
 * What a controller wants done, in one shape for all means: netlink requests, nftables transactions, kernel settings, files
 * and processes. A step is data: it can be printed and compared without anything being done. A driver carries it out.
 */
import { type SysctlName, settingObject } from "../kernel/sysctl.ts";
import type { ObjectIdentity, Request } from "../netlink/message.ts";

interface Step {
  /** What it changes. */
  readonly object: ObjectIdentity;
  /** The equivalent command, for people. */
  readonly text: string;
  /**
   * The same was wanted before, so another program has undone it: the repair gate is asked first, and the step rests while
   * that program keeps undoing it. [false]
   */
  readonly isRepair?: boolean;
}

/** One rtnetlink request. */
export interface RequestStep extends Step {
  readonly kind: "request";
  readonly request: Request;
}

/** nftables requests that are committed together, or not at all. */
export interface TransactionStep extends Step {
  readonly kind: "transaction";
  readonly requests: readonly Request[];
}

/** A kernel setting below /proc/sys; left alone where it has the value. */
export interface SettingStep extends Step {
  readonly kind: "setting";
  readonly name: SysctlName;
  readonly value: string;
}

/** A file, replaced by rename where content or mode differ. */
export interface FileStep extends Step {
  readonly kind: "file";
  readonly path: string;
  /** Undefined: the file is to be absent. */
  readonly content: string | undefined;
  /** Permission bits; undefined: as they are, 0644 for a new file. */
  readonly mode?: number | undefined;
}

/** Signals by which programs read their configuration again. */
export type ReloadSignal = "SIGHUP" | "SIGUSR1" | "SIGUSR2";

/** A child process that runs for as long as a complete plan names it. */
export interface ProcessStep extends Step {
  readonly kind: "process";
  /** Unique among the processes of a controller. */
  readonly name: string;
  /** Program and arguments; a process with other ones is replaced. */
  readonly argv: readonly [program: string, ...args: string[]];
  /** When a process that ended is started again: always, or unless it exited with code 0. */
  readonly restart: "always" | "on-failure";
  /** Sent when the same plan has changed one of `files`; without it a change restarts the process. */
  readonly reload?: { readonly files: readonly string[]; readonly signal?: ReloadSignal };
}

export type PlanStep = RequestStep | TransactionStep | SettingStep | FileStep | ProcessStep;

/** What a controller's `plan` returns. */
export interface StepPlan {
  /** In the order in which they are to be carried out. Empty: everything is as it should be. */
  readonly steps: readonly PlanStep[];
  /** False where something is made first: observe and plan again after the steps. [true] */
  readonly isComplete?: boolean;
  /** What stands in the way and is not ours, in words for an operator. [none] */
  readonly conflicts?: readonly string[];
}

/** A class whose words are formed when they are asked for: a plan for a large cluster has thousands of requests. */
class LazyRequestStep implements RequestStep {
  readonly kind = "request";
  readonly request: Request;
  readonly isRepair: boolean;

  constructor(request: Request, isRepair: boolean) {
    this.request = request;
    this.isRepair = isRepair;
  }

  get text(): string {
    return this.request.text;
  }

  get object(): ObjectIdentity {
    return this.request.object;
  }
}

/** A netlink request. */
export function requestStep(request: Request, isRepair = false): RequestStep {
  return new LazyRequestStep(request, isRepair);
}

/** Requests that are committed together; `object` is what they change as a whole, as a rule a table. */
export function transactionStep(
  object: ObjectIdentity,
  requests: readonly Request[],
  isRepair = false,
): TransactionStep {
  const text = requests.map((request) => request.text).join("; ");
  return { kind: "transaction", object, text, requests, isRepair };
}

/** A file that has `content`; undefined: no file. */
export function fileStep(path: string, content: string | undefined, mode?: number): FileStep {
  const text = content === undefined ? `rm -f ${path}` : `install -m ${(mode ?? 0o644).toString(8)} /dev/stdin ${path}`;
  return { kind: "file", object: { kind: "file", key: path }, text, path, content, mode };
}

/** A setting that has `value`. */
export function settingStep(name: SysctlName, value: string, isRepair = false): SettingStep {
  return { kind: "setting", object: settingObject(name), text: `${name.join(".")}=${value}`, name, value, isRepair };
}

/** A process that runs. */
export function processStep(
  name: string,
  argv: ProcessStep["argv"],
  options: Partial<Pick<ProcessStep, "restart" | "reload">> = {},
): ProcessStep {
  const { restart = "always", reload } = options;
  return {
    ...{ kind: "process", object: { kind: "process", key: name }, text: argv.join(" "), name, argv, restart },
    ...(reload && { reload }),
  };
}
