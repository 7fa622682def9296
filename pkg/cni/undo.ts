import { CniError, ErrorCode, isCniError, messageOf } from "./errors.ts";

/**
 * The undo steps for the changes of an ADD. On failure they run in reverse order. A step that fails does not stop the
 * others; its error is added to the details of the original error.
 */
export class Undo {
  readonly #steps: (() => void)[] = [];

  /** Adds a step that undoes the last change. */
  push(step: () => void): void {
    this.#steps.push(step);
  }

  /** Runs all undo steps. Returns the error to throw: `cause`, with the errors of undo steps in its details. */
  after(cause: unknown): unknown {
    const failures: string[] = [];
    for (const step of this.#steps.splice(0).reverse()) {
      try {
        step();
      } catch (error) {
        failures.push(messageOf(error));
      }
    }
    if (failures.length === 0) return cause;
    const details = `undoing ADD's changes failed, too: ${failures.join("; ")}`;
    if (!isCniError(cause)) return new CniError(ErrorCode.internal, messageOf(cause), { cause, details });
    const all = cause.details === undefined ? details : `${cause.details}; ${details}`;
    return new CniError(cause.code, cause.message, { cause, details: all });
  }
}

/** Runs `work`. If it throws, runs the undo steps that it pushed. */
export function undoing<T>(work: (undo: Undo) => T): T {
  const undo = new Undo();
  try {
    return work(undo);
  } catch (error) {
    throw undo.after(error);
  }
}
