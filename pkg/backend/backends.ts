/** The registered backends, as a list and by name. */
import type { Backend, BackendConf } from "./contract.ts";
import * as registry from "./registry.ts";

/** What net-conf.json means that names no `Type`. */
export const DEFAULT_WORD = "auto";

/** The one that is meant by default comes first, the others by the names that they are registered under. */
export const BACKENDS: readonly Backend[] = (Object.values(registry) as Backend[]).sort(
  (a, b) => +b.words.includes(DEFAULT_WORD) - +a.words.includes(DEFAULT_WORD),
);

/** Undefined where this version has none of that name. */
export function backendNamed(wanted: string | undefined): Backend | undefined {
  return BACKENDS.find(({ name }) => name === wanted);
}

/** The backend that a word of net-conf.json's `Type` means. */
export function backendMeant(word: string): Backend | undefined {
  return BACKENDS.find(({ words }) => words.includes(word));
}

/** That of settings: those are only made for backends that are registered. */
export function backendOf({ type }: BackendConf): Backend {
  const backend = backendNamed(type);
  if (backend === undefined) throw new Error(`no backend ${type}`);
  return backend;
}

/** What `Type` may be, as a message says it. */
export function wordsText(): string {
  const words = BACKENDS.flatMap((backend) => backend.words).map((word) => JSON.stringify(word));
  return `${words.slice(0, -1).join(", ")} or ${words.at(-1)}`;
}
