/**
 * What /healthz and /readyz answer, and why.
 *
 * Ready: this node serves pods. It stays so while the API server is away, since the data path does not need it, and
 * while single peers are not reached: a daemon that said otherwise would have its node taken out of service, and a
 * rolling update stopped, for somebody else's fault. Those are warnings, told beside the conditions.
 * Healthy: this process does its work. When it is not, a restart can help, and nothing else.
 */
import type { Clock } from "../../pkg/cluster/clock.ts";
import { type ControllerReport, controllerLine } from "./controller-state.ts";

/** What must hold for the node to be ready, in the order in which it comes about. */
export const CONDITIONS = ["subnet", "nodes", "reconcile", "conflist"] as const;
/** What must hold, too, once a controller has said of it that it does, or does not: not every node is asked for it. */
const OPTIONAL_CONDITIONS = ["services"] as const;
export type Condition = (typeof CONDITIONS)[number] | (typeof OPTIONAL_CONDITIONS)[number];

export interface Report {
  readonly isGood: boolean;
  /** One line for each condition, with the reason, and for each warning. */
  readonly text: string;
}

interface Finding {
  readonly holds: boolean;
  readonly reason: string;
}

/** Of a topic's warnings so many are told; the rest is a number. */
const WARNINGS_SHOWN = 10;

/** A controller's pass that takes so long does not end: the process is to be restarted. */
const LONGEST_PASS_MS = 60_000;

/** The node source speaks at least once per watch or failed attempt, and both end within ten minutes. */
const LONGEST_SILENCE_MS = 15 * 60_000;

export class Health {
  readonly #clock: Clock;
  /** By condition, of each part that it has. */
  readonly #findings = new Map<Condition, Map<string, Finding>>();
  readonly #warnings = new Map<string, readonly string[]>();
  #controllers: () => readonly ControllerReport[] = () => [];
  #heardMs: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#heardMs = clock.nowMs();
    for (const condition of CONDITIONS) this.fails(condition, "not tried yet");
  }

  /** A condition that has parts holds where all of them do; the unnamed part says why. */
  holds(condition: Condition, reason: string, part = ""): void {
    this.#parts(condition).set(part, { holds: true, reason });
  }

  fails(condition: Condition, reason: string, part = ""): void {
    this.#parts(condition).set(part, { holds: false, reason });
  }

  /** What is wrong on `topic` without keeping this node from serving; replaces what was said on it before. */
  warns(topic: string, reasons: readonly string[]): void {
    this.#warnings.set(topic, reasons);
  }

  /** From now on a line for each controller is among the answers. */
  shows(controllers: () => readonly ControllerReport[]): void {
    this.#controllers = controllers;
  }

  isHolding(condition: Condition): boolean {
    return this.#finding(condition).holds;
  }

  /** The node source said something, be it that it cannot reach the API server. */
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

  /** That this is answered at all shows that the event loop turns. */
  liveness(): Report {
    const nowMs = this.#clock.nowMs();
    const passMs = Math.max(0, ...this.#controllers().map(({ runningMs = 0 }) => runningMs));
    const silentMs = nowMs - this.#heardMs;
    return report("healthy", [
      {
        name: "pass",
        holds: passMs < LONGEST_PASS_MS,
        reason: passMs === 0 ? "none under way" : `under way for ${seconds(passMs)}`,
      },
      {
        name: "watch",
        holds: silentMs < LONGEST_SILENCE_MS,
        reason: `last sign of life ${seconds(silentMs)} ago`,
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
