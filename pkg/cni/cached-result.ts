/**
 * What container runtimes remember of attachments: libcni writes the result of each ADD into a file, and removes it after
 * DEL: `<cache>/results/<network>-<container>-<interface>`, JSON with `netns` since libcni 1.2.
 */
import { isSystemError } from "../sys/errors.ts";
import type { System } from "../sys/system.ts";

/** The name of an attachment's file. */
export function cachedResultName(network: string, containerId: string, ifName: string): string {
  return `${network}-${containerId}-${ifName}`;
}

/** The path of the container's namespace that the file at `path` tells; `undefined` where it tells none. */
export function cachedNetns(system: System, path: string): string | undefined {
  try {
    const result: unknown = JSON.parse(new TextDecoder().decode(system.readFile(path)));
    const { netns } = (typeof result === "object" && result !== null ? result : {}) as { netns?: unknown };
    return typeof netns === "string" && netns !== "" ? netns : undefined;
  } catch (error) {
    // Torn, just removed, or no file: it says nothing about a namespace.
    if (error instanceof SyntaxError || isSystemError(error, "ENOENT", "EISDIR")) return undefined;
    throw error;
  }
}
