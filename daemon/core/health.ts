/**
 * The answers of /healthz and /readyz, with reasons.
 *
 * Ready means that this node serves its pods. A node stays ready while the API server is away, because the data path
 * does not need it, and while single peers are unreachable. If weftd reported such a node as not ready, Kubernetes
 * would take the node out of service and stop a rolling update because of a fault elsewhere. These faults are warnings,
 * listed after the conditions.
 *
 * Healthy means that this process does its work. If it is unhealthy, only a restart can help.
 */
import type { Clock } from "../../pkg/cluster/clock.ts";
import { type ControllerReport, controllerLine } from "./controller-state.ts";

/** The conditions for readiness, in the order in which they are met at a start. */
export const CONDITIONS = ["subnet", "nodes", "reconcile", "conflist"] as const;
/** Conditions that count only after a controller has reported on them. They do not apply to every node. */
const OPTIONAL_CONDITIONS = ["services", "policies"] as const;
export type Condition = (typeof CONDITIONS)[number] | (typeof OPTIONAL_CONDITIONS)[number];

export interface Report {
  readonly isGood: boolean;
  /** One line for each condition, with its reason, and one for each warning. */
  readonly text: string;
}

interface Finding {
  readonly holds: boolean;
  readonly reason: string;
}

/** The number of warnings listed for each topic. The rest is counted. */
const WARNINGS_SHOWN = 10;

/** A controller's pass that takes longer does not end, and the process must be restarted. */
const LONGEST_PASS_MS = 60_000;

/** The node source reports at least once per watch or failed attempt, and both end within ten minutes. */
const LONGEST_SILENCE_MS = 15 * 60_000;

export class Health {
  readonly #clock: Clock;
  /** By condition, then by the condition's part. */
  readonly #findings = new Map<Condition, Map<string, Finding>>();
  readonly #warnings = new Map<string, readonly string[]>();
  #controllers: () => readonly ControllerReport[] = () => [];
  #heardMs: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#heardMs = clock.nowMs();
    for (const condition of CONDITIONS) this.fails(condition, "not tried yet");
  }

  /** A condition with parts holds if all parts hold. The unnamed part has its reason. */
  holds(condition: Condition, reason: string, part = ""): void {
    this.#parts(condition).set(part, { holds: true, reason });
  }

  fails(condition: Condition, reason: string, part = ""): void {
    this.#parts(condition).set(part, { holds: false, reason });
  }

  /** Sets the warnings of `topic`, in place of the previous ones. Warnings do not affect readiness. */
  warns(topic: string, reasons: readonly string[]): void {
    this.#warnings.set(topic, reasons);
  }

  /** Adds a line for each controller to the readiness report from now on. */
  shows(controllers: () => readonly ControllerReport[]): void {
    this.#controllers = controllers;
  }

  isHolding(condition: Condition): boolean {
    return this.#finding(condition).holds;
  }

  /** The node source reported, even if only that it cannot reach the API server. */
  sourceSpoke(): void {
    this.#heardMs = this.#clock.nowMs();
  }

  readiness(): Report {
    const { isGood, text } = report(
      "ready",
      [...CONDITIONS, ...OPTIONAL_CONDITIONS.filter((name) => this.#findings.has(name))].map((name) => ({
        name,
        ...this.#finding(name),
      })),
    );
    const lines = [...this.#warnings].flatMap(([topic, reasons]) => {
      const shown = reasons.slice(0, WARNINGS_SHOWN).map((reason) => `[!] ${topic}: ${reason}\n`);
      const others = reasons.length - shown.length;
      return others > 0 ? [...shown, `[!] ${topic}: ${others} more\n`] : shown;
    });
    const controllers = this.#controllers().map((one) => `${controllerLine(one)}\n`);
    return { isGood, text: text + lines.join("") + controllers.join("") };
  }

  /** Any answer at all shows that the event loop runs. */
  liveness(): Report {
    const nowMs = this.#clock.nowMs();
    const passMs = Math.max(0, ...this.#controllers().map(({ runningMs = 0 }) => runningMs));
    const silentMs = nowMs - this.#heardMs;
    return report("healthy", [
      {
        name: "pass",
        holds: passMs < LONGEST_PASS_MS,
        reason: passMs === 0 ? "none running" : `running for ${seconds(passMs)}`,
      },
      {
        name: "watch",
        holds: silentMs < LONGEST_SILENCE_MS,
        reason: `last report ${seconds(silentMs)} ago`,
      },
    ]);
  }

  #parts(condition: Condition): Map<string, Finding> {
    const known = this.#findings.get(condition) ?? new Map<string, Finding>();
    this.#findings.set(condition, known);
    return known;
  }

  #finding(condition: Condition): Finding {
    const parts = this.#parts(condition);
    const failing = [...new Set([...parts.values()].filter(({ holds }) => !holds).map(({ reason }) => reason))];
    if (failing.length > 0) return { holds: false, reason: failing.join("; ") };
    return { holds: true, reason: parts.get("")?.reason ?? "" };
  }
}

function report(quality: string, findings: readonly (Finding & { readonly name: string })[]): Report {
  const isGood = findings.every(({ holds }) => holds);
  const lines = findings.map(({ name, holds, reason }) => `${holds ? "[+]" : "[-]"} ${name}: ${reason}`);
  return { isGood, text: `${isGood ? "" : "not "}${quality}\n${lines.join("\n")}\n` };
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} seconds`;
}
