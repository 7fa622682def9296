/**
 * Questions to the kernel as a coroutine: a look yields requests and takes the answers to them all. So one function serves
 * both who waits for answers (plugins, commands) and who must not (weftd).
 */
import type { Message, Query } from "./message.ts";

/** Asks the kernel; an object that is absent gives no message. */
export type Read = (questions: readonly Query[]) => readonly Message[];

/** A look of several questions, each after the answers to those before. */
export type Look<T> = Generator<readonly Query[], T, readonly Message[]>;

/** Runs a look with blocking reads. Throws what `read` throws. */
export function answered<T>(look: Look<T>, read: Read): T {
  for (let step = look.next(); ; step = look.next(read(step.value))) if (step.done === true) return step.value;
}
