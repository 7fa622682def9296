/**
 * Chooses the API server: a list in order of preference, used as a ring. If a server cannot be reached or does not
 * serve, the next one is used. The preferred server is used again only after all others have failed.
 */

/**
 * - `configured`: named by a kubeconfig, --apiserver or the environment.
 * - `known`: an endpoint of the Service default/kubernetes when this node last read it.
 * - `service`: the ClusterIP of that Service, which needs rules in this node's kernel.
 */
export type ServerOrigin = "configured" | "known" | "service";

export interface Server {
  /** Scheme, address and port, and a path if there is one, without a trailing slash. */
  readonly url: string;
  readonly origin: ServerOrigin;
  /** The name that the server's certificate must have. Default: the kubeconfig's, else the URL's host. */
  readonly tlsName?: string;
}

/** Returns the URL without a trailing slash. Throws if `text` is not a URL. */
export function serverUrl(text: string): string {
  const { origin, pathname } = new URL(text);
  return origin + pathname.replace(/\/$/, "");
}

/** The limit for connecting to a server, including TLS, while there are other servers to try. */
export const CONNECT_MS = 2000;

/** The limit grows if no server meets it: all servers may be far away, or this node may be busy. */
const MOST_CONNECT_MS = 30_000;

export class ServerRing {
  readonly #onUse: (server: Server) => void;
  #servers: readonly Server[] = [];
  #current: Server | undefined;
  #used: string | undefined;
  /** The number of consecutive failures without an answer from any server. */
  #failures = 0;

  /** `onUse` is called if another server than before has answered. Must not throw. */
  constructor(onUse: (server: Server) => void = () => undefined) {
    this.#onUse = onUse;
  }

  /** Returns the server to use. `servers` are the current ones in order of preference, at least one. */
  pick(servers: readonly Server[]): Server {
    this.#servers = servers;
    const [first] = servers;
    if (first === undefined) throw new RangeError("there is no API server in the list");
    this.#current = servers.find(({ url }) => url === this.#current?.url) ?? first;
    return this.#current;
  }

  /** The server for the next request. Undefined before the first `pick`. */
  get current(): Server | undefined {
    return this.#current;
  }

  /** Moves on to the next server. If several requests fail at the same server, only the first one counts. */
  failed(server: Server): void {
    if (server.url !== this.#current?.url) return;
    const at = this.#servers.findIndex(({ url }) => url === server.url);
    this.#current = this.#servers[(at + 1) % this.#servers.length];
    this.#failures++;
  }

  answered(server: Server): void {
    this.#failures = 0;
    if (server.url === this.#used) return;
    this.#used = server.url;
    this.#onUse(server);
  }

  /** Undefined with a single server, because there is no other to try. Doubles each time all servers have failed. */
  get connectLimitMs(): number | undefined {
    const { length } = this.#servers;
    if (length < 2) return undefined;
    return Math.min(CONNECT_MS * 2 ** Math.floor(this.#failures / length), MOST_CONNECT_MS);
  }
}
