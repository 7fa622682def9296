/** net-conf.json as a file: read at the start, and again whenever it changes. */

import { type ParsedNetConf, parseNetConf } from "../../pkg/backend/net-conf.ts";
import type { Clock } from "../../pkg/cluster/clock.ts";
import type { Health } from "../core/health.ts";
import type { Logger } from "../core/log.ts";
import { readRegularFile } from "../core/regular-file.ts";
import { WatchedFile } from "../core/watched-file.ts";

export interface NetConfFile {
  readonly conf: ParsedNetConf;
  /** The text as it was read. The executables receive it with the node table. */
  readonly text: string;
}

export interface FollowOptions {
  readonly clock: Clock;
  readonly health: Pick<Health, "warns">;
  readonly log: Logger;
  /** Called when `current` has changed. */
  readonly onChange: () => void;
}

const ANY_NETWORK = JSON.stringify({ Network: "0.0.0.0/0", EnableIPv6: true, IPv6Network: "::/0" });

/** The configuration in force: the last valid one. */
export class NetConfHolder {
  /** Undefined if there is no file. */
  readonly #path: string | undefined;
  #current: NetConfFile;
  #problem = "";

  private constructor(path: string | undefined, current: NetConfFile) {
    this.#path = path;
    this.#current = current;
  }

  /** Reads the file and logs ignored settings. Throws an error with the path and, for an invalid value, its key. */
  static async open(path: string, log: Logger): Promise<NetConfHolder> {
    return new NetConfHolder(path, await readNetConf(path, log));
  }

  /** For a host without pods, which reads no file. */
  static ofAnyNetwork(): NetConfHolder {
    return new NetConfHolder(undefined, { conf: parseNetConf(ANY_NETWORK), text: ANY_NETWORK });
  }

  get current(): NetConfFile {
    return this.#current;
  }

  /**
   * Applies the file's changes from now on. An invalid or missing file is reported and changes nothing. Returns a
   * function that stops it.
   */
  follow(options: FollowOptions): () => void {
    const path = this.#path;
    if (path === undefined) return () => undefined;
    const file = new WatchedFile(path, options.clock, () => void this.#read(path, options));
    return () => file.close();
  }

  async #read(path: string, { health, log, onChange }: FollowOptions): Promise<void> {
    try {
      const text = await readText(path);
      if (text === this.#current.text) {
        this.#tell("", health, log);
        return;
      }
      this.#current = parse(path, text, log);
    } catch (error) {
      this.#tell(error instanceof Error ? error.message : String(error), health, log);
      return;
    }
    this.#tell("", health, log);
    log.info({ netConf: path, backend: this.#current.conf.backend }, "network configuration changed");
    onChange();
  }

  #tell(problem: string, health: FollowOptions["health"], log: Logger): void {
    if (problem === this.#problem) return;
    this.#problem = problem;
    health.warns("net-conf", problem === "" ? [] : [`${problem}; the last valid configuration stays in force`]);
    if (problem !== "") log.error({ problem }, "network configuration not usable; the last valid one stays in force");
  }
}

async function readNetConf(path: string, log: Logger): Promise<NetConfFile> {
  return parse(path, await readText(path), log);
}

async function readText(path: string): Promise<string> {
  try {
    return await readRegularFile(path);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`network configuration: ${reason}; set the path with --net-conf`, { cause });
  }
}

function parse(path: string, text: string, log: Logger): NetConfFile {
  try {
    const conf = parseNetConf(text);
    for (const warning of conf.warnings)
      log.warn({ netConf: path, warning }, "network configuration has a setting that is ignored or adjusted");
    return { conf, text };
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`network configuration ${path}: ${reason}`, { cause });
  }
}
