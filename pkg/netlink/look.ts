/**
 * Reads of the kernel as coroutines: a `Look` yields requests and receives the answers to all of them. The same
 * function works for callers that block (plugins, commands) and for weftd, which must not block.
 */
import type { Message, Query } from "./message.ts";

/** Sends requests to the kernel. An object that does not exist gives no message. */
export type Read = (questions: readonly Query[]) => readonly Message[];

/** A read in several steps; each step's requests may depend on the answers to the previous steps. */
export type Look<T> = Generator<readonly Query[], T, readonly Message[]>;

/** Runs a `Look` with blocking reads. Throws if `read` throws. */
export function answered<T>(look: Look<T>, read: Read): T {
  for (let step = look.next(); ; step = look.next(read(step.value))) if (step.done === true) return step.value;
}
