/**
 * The runtimes' cached results. libcni writes the result of each ADD to
 * `<cache>/results/<network>-<container>-<interface>` and removes the file after DEL. The file is JSON, with `netns`
 * since libcni 1.2.
 */
import { isSystemError } from "../sys/errors.ts";
import type { System } from "../sys/system.ts";

/** Returns the name of an attachment's file. */
export function cachedResultName(network: string, containerId: string, ifName: string): string {
  return `${network}-${containerId}-${ifName}`;
}

/** Returns the path of the container's namespace from the file at `path`. Undefined if the file does not contain it. */
export function cachedNetns(system: System, path: string): string | undefined {
  try {
    const result: unknown = JSON.parse(new TextDecoder().decode(system.readFile(path)));
    const { netns } = (typeof result === "object" && result !== null ? result : {}) as { netns?: unknown };
    return typeof netns === "string" && netns !== "" ? netns : undefined;
  } catch (error) {
    // The file is incomplete, was just removed, or is a directory: it names no namespace.
    if (error instanceof SyntaxError || isSystemError(error, "ENOENT", "EISDIR")) return undefined;
    throw error;
  }
}
