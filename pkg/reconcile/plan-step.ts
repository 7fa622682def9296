/**
 * The steps of a controller's plan, in one form for all drivers: netlink requests, nftables transactions, kernel
 * settings, files and processes. A step is data: it can be printed and compared without carrying it out. A driver
 * carries it out.
 */
import { type SysctlName, settingObject } from "../kernel/sysctl.ts";
import type { ObjectIdentity, Request } from "../netlink/message.ts";

interface Step {
  /** The object that the step changes. */
  readonly object: ObjectIdentity;
  /** The equivalent command, for people. */
  readonly text: string;
  /**
   * The previous plan had the same step, so another program has undone it. The driver then consults the repair gate,
   * which delays the step while the other program keeps undoing it. [false]
   */
  readonly isRepair?: boolean;
}

/** One rtnetlink request. */
export interface RequestStep extends Step {
  readonly kind: "request";
  readonly request: Request;
}

/** nftables requests that are committed atomically. */
export interface TransactionStep extends Step {
  readonly kind: "transaction";
  readonly requests: readonly Request[];
}

/** A kernel setting below /proc/sys; not written if it already has the value. */
export interface SettingStep extends Step {
  readonly kind: "setting";
  readonly name: SysctlName;
  readonly value: string;
}

/** A file, replaced by rename if its content or mode differs. */
export interface FileStep extends Step {
  readonly kind: "file";
  readonly path: string;
  /** Undefined: the file must not exist. */
  readonly content: string | undefined;
  /** Permission bits; undefined: unchanged, or 0644 for a new file. */
  readonly mode?: number | undefined;
}

/** Signals that make programs reload their configuration. */
export type ReloadSignal = "SIGHUP" | "SIGUSR1" | "SIGUSR2";

/** A child process that runs while complete plans contain it. */
export interface ProcessStep extends Step {
  readonly kind: "process";
  /** Unique among the processes of a controller. */
  readonly name: string;
  /** Program and arguments; if they change, the process is replaced. */
  readonly argv: readonly [program: string, ...args: string[]];
  /** When to restart a process that has ended: always, or unless it exited with code 0. */
  readonly restart: "always" | "on-failure";
  /**
   * The signal to send when the same plan has changed one of `files`; without `reload`, a change restarts the process.
   */
  readonly reload?: { readonly files: readonly string[]; readonly signal?: ReloadSignal };
}

export type PlanStep = RequestStep | TransactionStep | SettingStep | FileStep | ProcessStep;

/** The result of a controller's `plan`. */
export interface StepPlan {
  /** In the order to carry them out. Empty if the state is as desired. */
  readonly steps: readonly PlanStep[];
  /** False if something must be created first: observe and plan again after the steps. [true] */
  readonly isComplete?: boolean;
  /** Conflicts with objects that are not weft's, as messages for an operator. [none] */
  readonly conflicts?: readonly string[];
}

/** A request step that forms its text only when it is read: a plan for a large cluster has thousands of requests. */
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

/** Makes a step from a netlink request. */
export function requestStep(request: Request, isRepair = false): RequestStep {
  return new LazyRequestStep(request, isRepair);
}

/** Makes a step from requests that are committed atomically; `object` is their common object, usually a table. */
export function transactionStep(
  object: ObjectIdentity,
  requests: readonly Request[],
  isRepair = false,
): TransactionStep {
  const text = requests.map((request) => request.text).join("; ");
  return { kind: "transaction", object, text, requests, isRepair };
}

/** Makes a step that writes a file with `content`; undefined removes the file. */
export function fileStep(path: string, content: string | undefined, mode?: number): FileStep {
  const text = content === undefined ? `rm -f ${path}` : `install -m ${(mode ?? 0o644).toString(8)} /dev/stdin ${path}`;
  return { kind: "file", object: { kind: "file", key: path }, text, path, content, mode };
}

/** Makes a step that sets a kernel setting to `value`. */
export function settingStep(name: SysctlName, value: string, isRepair = false): SettingStep {
  return { kind: "setting", object: settingObject(name), text: `${name.join(".")}=${value}`, name, value, isRepair };
}

/** Makes a step that runs a process. */
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
