/** The registered backends, as a list and by name. */
import type { Backend, BackendConf } from "./contract.ts";
import * as registry from "./registry.ts";

/** The `Type` of a net-conf.json that does not name one. */
export const DEFAULT_WORD = "auto";

/** The default backend is first. The others are in the order of the names under which they are registered. */
export const BACKENDS: readonly Backend[] = (Object.values(registry) as Backend[]).sort(
  (a, b) => +b.words.includes(DEFAULT_WORD) - +a.words.includes(DEFAULT_WORD),
);

/** Returns undefined if this version has no backend of that name. */
export function backendNamed(wanted: string | undefined): Backend | undefined {
  return BACKENDS.find(({ name }) => name === wanted);
}

/** Returns the backend that a value of net-conf.json's `Type` selects. */
export function backendMeant(word: string): Backend | undefined {
  return BACKENDS.find(({ words }) => words.includes(word));
}

/** Returns the backend of settings. Settings exist only for registered backends. */
export function backendOf({ type }: BackendConf): Backend {
  const backend = backendNamed(type);
  if (backend === undefined) throw new Error(`there is no backend ${type}`);
  return backend;
}

/** Returns the valid values of `Type` as text for messages. */
export function wordsText(): string {
  const words = BACKENDS.flatMap((backend) => backend.words).map((word) => JSON.stringify(word));
  return `${words.slice(0, -1).join(", ")} or ${words.at(-1)}`;
}
