/**
 * The API servers that this node knows, in a file that outlives a reboot: a node without kube-proxy reaches one of them
 * before any rule leads from the ClusterIP to an endpoint.
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

/** Credentials go where it says. */
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

  /** Reads the file; where it is absent or cannot be used, no server is known. */
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
   * `slices` are all those of default/kubernetes. Where they name no server, the previous ones stay. The file is
   * written where it differs; a failure is logged, and retried at the next call.
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
        log.info({ path, endpoints: endpoints.map(formatApiEndpoint) }, "addresses of API servers are written");
    } catch (error) {
      log.warn({ err: error, path }, "cannot write the addresses of API servers");
    }
  }
}
