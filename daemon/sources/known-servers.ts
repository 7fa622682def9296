/**
 * Stores the API servers' addresses in a file that outlives a reboot. A node without kube-proxy needs them to reach an
 * API server before rules for the ClusterIP exist.
 */
import { mkdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import {
  type ApiEndpoint,
  apiEndpointsOf,
  formatApiEndpoint,
  formatKnownServers,
  parseKnownServers,
} from "../../pkg/cluster/known-servers.ts";
import type { EndpointSlice } from "../../pkg/cluster/service/endpoint-slice.ts";
import { KNOWN_SERVERS_FILE } from "../../pkg/footprint.ts";
import { replaceFile } from "../core/drivers/replace-file.ts";
import type { Logger } from "../core/log.ts";
import { readRegularFile } from "../core/regular-file.ts";

/** Only root may write it, because weftd sends its credentials to these addresses. */
const MODE = 0o600;

export class KnownServers {
  readonly #path: string;
  readonly #log: Logger;
  #endpoints: readonly ApiEndpoint[];
  #writing: Promise<void> = Promise.resolve();

  private constructor(path: string, log: Logger, endpoints: readonly ApiEndpoint[]) {
    this.#path = path;
    this.#log = log;
    this.#endpoints = endpoints;
  }

  /** Reads the file. If it is missing or invalid, no server is known. */
  static async open(stateDir: string, log: Logger): Promise<KnownServers> {
    const path = join(stateDir, KNOWN_SERVERS_FILE);
    try {
      return new KnownServers(path, log, parseKnownServers(await readRegularFile(path)));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT")
        log.warn({ err: error, path }, "cannot use the file of known API servers; it will be replaced");
      return new KnownServers(path, log, []);
    }
  }

  get endpoints(): readonly ApiEndpoint[] {
    return this.#endpoints;
  }

  /**
   * `slices` are all slices of default/kubernetes. If they name no server, the previous ones stay. Writes the file if
   * it differs; a failure is logged and retried at the next call.
   */
  learn(slices: readonly EndpointSlice[]): Promise<void> {
    const endpoints = apiEndpointsOf(slices);
    if (endpoints.length > 0) this.#endpoints = endpoints;
    if (endpoints.length > 0) this.#writing = this.#writing.then(() => this.#write(endpoints));
    return this.#writing;
  }

  async #write(endpoints: readonly ApiEndpoint[]): Promise<void> {
    const [path, log] = [this.#path, this.#log];
    try {
      await mkdir(dirname(path), { recursive: true });
      if (await replaceFile(path, formatKnownServers(endpoints), MODE))
        log.info({ path, endpoints: endpoints.map(formatApiEndpoint) }, "addresses of API servers written");
    } catch (error) {
      log.warn({ err: error, path }, "cannot write the addresses of API servers");
    }
  }
}
