/** The observations of a scenario: values that a test can compare, the same in every implementation and in JSON. */
import { isSystemError } from "../../pkg/sys/errors.ts";

export type Outcome = null | boolean | number | string | readonly Outcome[] | { readonly [name: string]: Outcome };

/** The value; for a failure "ENOENT of its subject", without the scenario's folder. */
export function outcome(folder: string, work: () => Outcome | undefined): Outcome {
  try {
    return work() ?? "nothing";
  } catch (error) {
    if (!isSystemError(error)) throw error;
    return `${error.code} of ${error.subject.replaceAll(`${folder}/`, "")}`;
  }
}

export function bytesOf(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

export function textOf(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}
