/** net-conf.json as a file: read once, at the start. */
import { readFile } from "node:fs/promises";
import { type NetConf, parseNetConf } from "../pkg/backend/net-conf.ts";
import type { Logger } from "./log.ts";

export interface NetConfFile {
  readonly conf: NetConf;
  /** As it was read; the executables get it with the node table. */
  readonly text: string;
}

/** Logs what was passed over. Throws with the path and, for a value that is wrong, its key. */
export async function readNetConf(path: string, log: Logger): Promise<NetConfFile> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`network configuration: ${reason}; name the file by --net-conf`, { cause });
  }
  try {
    const conf = parseNetConf(text);
    for (const warning of conf.warnings) log.warn({ netConf: path, warning }, "net-conf: a key has no effect");
    return { conf, text };
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`network configuration ${path}: ${reason}`, { cause });
  }
}
