import { CniError, ErrorCode, isCniError, messageOf } from "./errors.ts";

/**
 * What an ADD has done so far, as the steps that take it back. On failure they run in reverse order; one that fails does
 * not keep the others from running, and is told in the details of the error that started it all.
 */
export class Undo {
  readonly #steps: (() => void)[] = [];

  /** `step` takes back what was just done. */
  push(step: () => void): void {
    this.#steps.push(step);
  }

  /** Takes everything back, and gives the error to throw: `cause`, with what could not be taken back. */
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
    const details = `taking back what ADD had done failed too: ${failures.join("; ")}`;
    if (!isCniError(cause)) return new CniError(ErrorCode.internal, messageOf(cause), { cause, details });
    const told = cause.details === undefined ? details : `${cause.details}; ${details}`;
    return new CniError(cause.code, cause.message, { cause, details: told });
  }
}

/** Runs `work`; when it throws, what it pushed to the undo list is taken back first. */
export function undoing<T>(work: (undo: Undo) => T): T {
  const undo = new Undo();
  try {
    return work(undo);
  } catch (error) {
    throw undo.after(error);
  }
}
